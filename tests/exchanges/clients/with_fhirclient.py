"""What fhirclient finds behind a base URL, as JSON: python with_fhirclient.py BASE PATIENT OTHER."""

import json
import sys

from fhirclient import client
from fhirclient._utils import iter_pages
from fhirclient.models.bundle import Bundle
from fhirclient.models.observation import Observation
from fhirclient.models.patient import Patient
from fhirclient.server import FHIRNotFoundException

base, patient_id, other_id = sys.argv[1:]
smart = client.FHIRClient(settings={"app_id": "clients", "api_base": base})
# Reads the CapabilityStatement, by a strict model of it.
smart.prepare()
server = smart.server


def ids(pages):
    resources = (entry.resource for page in pages for entry in page.entry)
    return sorted(resource.id for resource in resources if resource.id is not None)


def is_missing(kind, path):
    try:
        kind.read_from(path, server)
    except FHIRNotFoundException:
        return True
    return False


patient = Patient.read(patient_id, server)
search = Observation.where({"patient": patient_id, "_count": "7"})
everything = Bundle.read_from(f"Patient/{patient_id}/$everything?_count=7", server)
statement = server._capability
version = Observation.read_from("Observation/obs-tin-00/_history/4", server)
found = server.post_as_form(f"{base}/Observation/_search", {"patient": other_id})
json.dump(
    {
        "patient": patient.id,
        "observations": ids(search.perform_iter(server)),
        "everything": ids(iter_pages(everything, server)),
        "types": [resource.type for resource in statement.rest[0].resource],
        "version": f"{version.id} {version.meta.versionId}",
        "by_post": ids([Bundle(found.json())]),
        "missing": [
            is_missing(Patient, "Patient/pat-nobody-99"),
            is_missing(Observation, "Observation/obs-tin-00/_history/3"),
        ],
    },
    sys.stdout,
)
