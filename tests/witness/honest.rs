//! An honest ledger, before somebody who watches it.

use super::world::{NODES, events, mesh, of_kind, record};

#[tokio::test(flavor = "multi_thread")]
async fn an_honest_ledger_is_watched_without_a_word_of_alarm() {
    let dev = mesh().await;
    let states = tempfile::tempdir().unwrap();
    let state = |name: &str| states.path().join(name).display().to_string();
    let mut sizes = Vec::new();
    for number in ["9990000018", "9990000026"] {
        let size = record(&dev, number).await;
        for who in ["auditor", "RZ9"] {
            let state = state(who);
            let args = ["audit", "watch", "--once", "--state", &state, "--output", "json"];
            let ran = match who {
                "auditor" => dev.auditor(&args).await,
                member => dev.tally(member, &args).await,
            };
            let told = events(&ran.unwrap().done().unwrap().out);
            let seen = of_kind(&told, "checkpoint");
            // What is believed first is said once: the next run goes on from there.
            let believed = of_kind(&told, "believed");
            assert_eq!(believed.len(), usize::from(sizes.len() < 2), "{told:?}");
            assert!(believed.iter().all(|it| it["signatures"].as_u64() >= Some(2)), "{told:?}");
            assert_eq!(told.len(), seen.len() + believed.len(), "{told:?}");
            assert!(seen[0]["size"].as_u64().unwrap() >= size, "{told:?}");
            assert!(seen[0]["signatures"].as_u64().unwrap() >= 1, "{told:?}");
            sizes.push(seen[0]["size"].as_u64().unwrap());
        }
    }
    assert!(sizes[0] < sizes[2], "{sizes:?}");
    // A node that is silent is told by its name, and is no contradiction.
    dev.kill(NODES[0]).await.unwrap();
    let state = state("auditor");
    let args = ["audit", "watch", "--once", "--state", &state, "--output", "json"];
    let told = events(&dev.auditor(&args).await.unwrap().done().unwrap().out);
    let silent = of_kind(&told, "silent");
    assert_eq!(silent.len(), 1, "{told:?}");
    for node in &NODES[1..] {
        dev.kill(node).await.unwrap();
    }
    let ran = dev.auditor(&args).await.unwrap();
    assert_eq!(ran.code, Some(3), "{ran:?}");
}
