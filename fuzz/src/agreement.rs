//! Agreement files: whatever a file says, it is read or every fault is told with its place.

use tally_core::agreement::{check, file};

pub fn fuzz(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match file::read(text) {
        Ok(agreement) => {
            // A file that is read is one that the ledger's checks have nothing against.
            let problems = check(&agreement);
            assert!(problems.is_empty(), "{problems:?}");
        }
        Err(problems) => assert!(!problems.is_empty()),
    }
}
