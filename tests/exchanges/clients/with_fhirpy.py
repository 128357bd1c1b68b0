"""What fhirpy finds behind a base URL, as JSON: python with_fhirpy.py BASE PATIENT."""

import json
import sys

from fhirpy import SyncFHIRClient
from fhirpy.base.exceptions import ResourceNotFound

base, patient_id = sys.argv[1:]
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


def is_missing(found):
    try:
        client.get("Patient", found)
    except ResourceNotFound:
        return True
    return False


patient = client.reference("Patient", patient_id).to_resource()
search = client.resources("Observation").search(patient=patient_id).limit(7)
statement = client.execute("metadata", "get")
json.dump(
    {
        "patient": patient["id"],
        "observations": ids(search.fetch_all()),
        "everything": ids(everything()),
        "types": [resource["type"] for resource in statement["rest"][0]["resource"]],
        "missing": is_missing("pat-nobody-99"),
    },
    sys.stdout,
)
