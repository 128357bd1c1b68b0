//! What witnesses do for a ledger that asks them: every member cosigns, receipts carry it, and a ledger
//! that was put back gets no cosignature any more.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tally_log::{SignedCheckpoint, TlogProof};
use tally_tests::mesh::until;

use super::forked::{PutBack, events_of_watch};
use super::world::{LONG, MEMBERS, all_cosigned, mesh, of_kind, record, witness};

#[tokio::test(flavor = "multi_thread")]
async fn every_member_is_a_witness_and_receipts_carry_a_quorum_of_them() {
    let dev = mesh().await;
    let size = record(&dev, "9990000018").await;
    all_cosigned(&dev, size).await;
    let status = witness(&dev, "RZ9").await.unwrap();
    assert_eq!(status["standing"], "attending", "{status}");
    assert_eq!(status["witnesses"].as_array().unwrap().len(), 3, "{status}");
    assert_eq!(status["evidence"].as_array().unwrap().len(), 0, "{status}");

    // The last leaf is the seal of what was recorded, and the one before it the record.
    let leaf = (size - 2).to_string();
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str| files.path().join(name).display().to_string();
    let (witnessed, plain, proof) = (file("witnessed"), file("plain"), file("proof"));
    let took = dev.auditor(&["audit", "receipt", &leaf, "--witnessed", "--to", &witnessed]).await;
    took.unwrap().done().unwrap();
    let mesh_id = dev.document()["mesh_id"].as_str().unwrap().to_owned();
    let check = ["audit", "check", "--output", "json", "--mesh-id", &mesh_id, "--witness-quorum"];
    let check = async |path: &str| dev.auditor(&[&check[..], &[path]].concat()).await.unwrap();
    let shown = check(&witnessed).await.done().unwrap().json();
    assert_eq!((&shown["verified"], &shown["witnessed"]), (&true.into(), &true.into()), "{shown}");
    assert_eq!((&shown["witnesses"], &shown["quorum"]), (&3.into(), &2.into()), "{shown}");
    assert!(shown["cosignatures"].as_u64().unwrap() >= 2, "{shown}");

    // One that does not say who the witnesses are is as good as before, and no better.
    dev.auditor(&["audit", "receipt", &leaf, "--to", &plain]).await.unwrap().done().unwrap();
    let shown = check(&plain).await;
    assert_eq!(shown.code, Some(1), "{shown:?}");
    assert_eq!(
        (&shown.json()["verified"], &shown.json()["witnessed"]),
        (&true.into(), &false.into())
    );
    let without_quorum = fewer_cosignatures(&fs::read_to_string(&witnessed).unwrap());
    fs::write(&plain, without_quorum).unwrap();
    let shown = check(&plain).await;
    assert_eq!((shown.code, &shown.json()["verified"]), (Some(1), &true.into()), "{shown:?}");
    assert_eq!(shown.json()["cosignatures"], 1, "{shown:?}");

    let args = ["audit", "receipt", &leaf, "--witnessed", "--format", "tlog-proof", "--to", &proof];
    dev.auditor(&args).await.unwrap().done().unwrap();
    let text = fs::read(&proof).unwrap();
    let proof = TlogProof::parse(&text).unwrap();
    assert_eq!(proof.index.to_string(), leaf);
    super::others::verify_tlog_proof(&dev, &proof, &witnessed).await;
}

/// The same receipt with one cosignature only.
fn fewer_cosignatures(text: &str) -> String {
    let mut file: Value = serde_json::from_str(text).unwrap();
    let mut receipt = super::others::receipt_of(&file);
    let note = SignedCheckpoint::parse(&receipt.checkpoint).unwrap().to_string();
    let mut kept = 0;
    let lines = note.lines().filter(|line| {
        let cosigned = line.contains("/witness/");
        kept += usize::from(cosigned);
        !cosigned || kept == 1
    });
    receipt.checkpoint = lines.map(|line| format!("{line}\n")).collect::<String>().into_bytes();
    file["receipt"] = super::others::to_base64(&tally_wire::encode(&receipt)).into();
    file.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_that_was_killed_goes_on_from_what_it_cosigned() {
    let dev = mesh().await;
    let size = record(&dev, "9990000018").await;
    all_cosigned(&dev, size).await;
    for round in 0..3 {
        dev.kill(MEMBERS[0]).await.unwrap();
        dev.start_again(MEMBERS[0]).await.unwrap();
        let status = witness(&dev, MEMBERS[0]).await.unwrap();
        assert!(status["size"].as_u64().unwrap() >= size, "round {round}: {status}");
        let number = ["9990000026", "9990000034", "9990000042"][round];
        let size = record(&dev, number).await;
        all_cosigned(&dev, size).await;
    }
    // A witness whose state is gone cosigns nothing, and the agent serves all the same.
    dev.stop(MEMBERS[0]).await.unwrap();
    let kept = dev.dir_of(MEMBERS[0]).join("data/witness");
    let lost = fs::read_dir(&kept).unwrap().map(|it| it.unwrap().path());
    let lost = lost.filter(|path| path.extension().is_some_and(|it| it == "state"));
    lost.for_each(|path| fs::remove_file(path).unwrap());
    dev.start_again(MEMBERS[0]).await.unwrap();
    let status = witness(&dev, MEMBERS[0]).await.unwrap();
    assert_eq!(status["standing"], "broken", "{status}");
    let ready = dev.tally(MEMBERS[0], &["agreement", "list", "--output", "json"]).await.unwrap();
    ready.done().unwrap();
    // Somebody vouches for a checkpoint that is as new as any that it has cosigned.
    dev.stop(MEMBERS[0]).await.unwrap();
    let note = dev.dir().join("checkpoint.note");
    let exported = dev.dir().join("export").display().to_string();
    dev.auditor(&["audit", "export", "--to", &exported]).await.unwrap().done().unwrap();
    fs::copy(dev.dir().join("export/checkpoint"), &note).unwrap();
    let note = note.display().to_string();
    let args = ["witness", "trust", "--checkpoint", &note];
    let warned = dev.tally(MEMBERS[0], &args).await.unwrap();
    assert_eq!(warned.code, Some(1), "{warned:?}");
    assert!(warned.said.contains("another history"), "{warned:?}");
    dev.tally(MEMBERS[0], &[&args[..], &["--yes"]].concat()).await.unwrap().done().unwrap();
    dev.start_again(MEMBERS[0]).await.unwrap();
    let size = record(&dev, "9990000050").await;
    until("a witness that cosigns again", LONG, async || {
        let status = witness(&dev, MEMBERS[0]).await.map_err(|why| why.to_string())?;
        let reached = status["size"].as_u64().is_some_and(|found| found >= size);
        if reached { Ok(()) } else { Err(status.to_string()) }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn witnesses_refuse_a_ledger_that_was_put_back_and_keep_what_shows_it() {
    let mut dev = mesh().await;
    let before = record(&dev, "9990000018").await;
    all_cosigned(&dev, before).await;
    let saved = PutBack::save(&mut dev).await;
    let first = record(&dev, "9990000026").await;
    all_cosigned(&dev, first).await;
    let mut cosigned = Vec::new();
    for member in MEMBERS {
        cosigned.push(witness(&dev, member).await.unwrap()["size"].clone());
    }
    saved.put_back(&mut dev).await;
    for number in ["9990000034", "9990000042", "9990000050"] {
        record(&dev, number).await;
    }
    for (member, size) in MEMBERS.iter().zip(&cosigned) {
        until("evidence of a fork", LONG, async || {
            let status = witness(&dev, member).await.map_err(|why| why.to_string())?;
            let mut kept = status["evidence"].as_array().into_iter().flatten();
            let forked = kept.any(|it| it["why"] == "fork");
            if forked { Ok(()) } else { Err(status.to_string()) }
        })
        .await
        .unwrap();
        let status = witness(&dev, member).await.unwrap();
        assert_eq!(status["size"], *size, "{status}");
    }
    let evidence = saved.path().join("evidence").display().to_string();
    let ran = dev.tally("RZ9", &["witness", "evidence", "--to", &evidence]).await.unwrap();
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(ends(Path::new(&evidence), "known"), ends(Path::new(&evidence), "offered"));
    assert!(ends(Path::new(&evidence), "json") > 0);
    // A member that begins to watch only now hears of it from its own witness.
    let (code, told) = events_of_watch(&dev, Some("RZ9"), &saved.path().join("late.json")).await;
    assert_eq!(code, Some(1), "{told:?}");
    assert!(!of_kind(&told, "evidence").is_empty(), "{told:?}");
}

/// Files of a directory whose names end so.
fn ends(dir: &Path, end: &str) -> usize {
    let files = fs::read_dir(dir).unwrap().map(|it| it.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|it| it == end)).count()
}
