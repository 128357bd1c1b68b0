//! A proof as a tool reads it that nobody here wrote: proofbundle, a Python package.

use std::fs;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tally_core::receipt::Receipt;
use tally_log::TlogProof;
use tally_tests::dev::Dev;

/// Says what proofbundle makes of a proof, and of one whose leaf is another.
const SCRIPT: &str = "
import base64, json, sys
from proofbundle import verify_tlog_proof
said = json.load(sys.stdin)
def check(leaf):
    try:
        found = verify_tlog_proof(said['proof'], leaf, said['log'], said['witnesses'], threshold=said['quorum'])
        return found['ok']
    except Exception as why:
        print(type(why).__name__, why, file=sys.stderr)
        return False
leaf = base64.b64decode(said['leaf'])
print(json.dumps([check(leaf), check(leaf + b'x')]))
";

/// Has proofbundle verify a proof, with a quorum of the witnesses; where it is not installed, that is
/// said in a line.
pub(super) async fn verify_tlog_proof(dev: &Dev, proof: &TlogProof, receipt: &str) {
    let python = std::env::var("TALLY_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let there = Command::new(&python).args(["-c", "import proofbundle"]).output();
    if !there.is_ok_and(|it| it.status.success()) {
        eprintln!(
            "proofbundle verifies no tlog-proof here: {python} does not have it (TALLY_PYTHON)"
        );
        return;
    }
    let file: Value = serde_json::from_slice(&fs::read(receipt).unwrap()).unwrap();
    let leaf = receipt_of(&file).entry.bytes().to_vec();
    let witnesses = super::world::witness(dev, "RZ9").await.unwrap()["witnesses"].clone();
    let said = serde_json::json!({
        "proof": proof.to_string(),
        "leaf": to_base64(&leaf),
        "log": dev.document()["ledger"][0]["vkey"],
        "witnesses": witnesses,
        "quorum": 2,
    });
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("input.json");
    fs::write(&input, said.to_string()).unwrap();
    let mut command = Command::new(&python);
    command.args(["-c", SCRIPT]).stdin(fs::File::open(&input).unwrap());
    let output = command.output().unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(found, serde_json::json!([true, false]), "{said}\n{proof}");
}

/// The receipt in a file.
pub(super) fn receipt_of(file: &Value) -> Receipt {
    let bytes = STANDARD.decode(file["receipt"].as_str().unwrap()).unwrap();
    tally_wire::decode_value(&bytes).unwrap()
}

pub(super) fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}
