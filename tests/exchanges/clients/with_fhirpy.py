"""What fhirpy finds behind a base URL, as JSON: python with_fhirpy.py BASE PATIENT OTHER."""

import json
import sys

from fhirpy import SyncFHIRClient
from fhirpy.base.exceptions import ResourceNotFound

base, patient_id, _ = sys.argv[1:]
client = SyncFHIRClient(base)


def ids(resources):
    return sorted(resource["id"] for resource in resources if "id" in resource)


def everything():
    """Page by page, each link as it is."""
    page = client.execute(f"Patient/{patient_id}/$everything", "get", params={"_count": 7})
    while True:
        yield from (entry["resource"] for entry in page["entry"])
        following = [link["url"] for link in page["link"] if link["relation"] == "next"]
        if not following:
            return
        page = client.execute(following[0], "get")


def is_missing(path):
    try:
        client.execute(path, "get")
    except ResourceNotFound:
        return True
    return False


patient = client.reference("Patient", patient_id).to_resource()
search = client.resources("Observation").search(patient=patient_id).limit(7)
statement = client.execute("metadata", "get")
version = client.execute("Observation/obs-tin-00/_history/4", "get")
json.dump(
    {
        "patient": patient["id"],
        "observations": ids(search.fetch_all()),
        "everything": ids(everything()),
        "types": [resource["type"] for resource in statement["rest"][0]["resource"]],
        "version": f"{version['id']} {version['meta']['versionId']}",
        "by_post": None,
        "missing": [
            is_missing("Patient/pat-nobody-99"),
            is_missing("Observation/obs-tin-00/_history/3"),
        ],
    },
    sys.stdout,
)
