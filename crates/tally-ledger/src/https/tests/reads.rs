//! A member's own entries, and what a reader has already.

use tally_core::entry::{Entry, Seal, SessionStart};
use tally_core::id::SessionId;
use tally_wire::message::ledger::OwnEntries;

use super::*;

/// The genesis, a session of this member, its half, and the seal of that: leaves 0 to 3.
fn ledger_of(member: &str) -> Vec<Leaf> {
    let of = |name: &str| tally_wire::decode_entry(&vector(name)).unwrap().into_parts().0;
    let Entry::SessionStart(start) = of("session-start") else { panic!("another kind of leaf") };
    let Entry::Seal(seal) = of("seal") else { panic!("another kind of leaf") };
    let start = SessionStart { member: member.parse().unwrap(), ..start };
    let seal = Seal { session: SessionId(LeafIndex(1)), count: 1, ..seal };
    let bytes = [
        vector("genesis"),
        tally_wire::encode(&start),
        vector("requester-half"),
        tally_wire::encode(&seal),
    ];
    let leaf = |bytes: Vec<u8>| {
        let hash = tally_log::leaf_hash(&bytes);
        Leaf { hash, bytes: bytes.into(), register: false }
    };
    let mut leaves = bytes.map(leaf).to_vec();
    leaves[0].register = true;
    leaves
}

async fn start(leaves: &[Leaf]) -> Node {
    let mut edge = tally_log::Edge::new();
    edge.extend(leaves.iter().map(|leaf| leaf.hash));
    Node::start(leaves, Head::of(&edge)).await
}

#[tokio::test]
async fn a_member_reads_its_own_entries_and_nobody_elses() {
    let node = start(&ledger_of("LZ9")).await;
    let officer = Some(issue(&node.lz9, "LZ9/officer/o", always()));
    for identity in [node.agent(), officer] {
        let page = node.get(identity.clone(), "/own").await;
        assert_eq!((page.status, page.header("content-type")), (200, Some("application/cbor")));
        assert_eq!(page.header("cache-control"), Some("no-store"));
        let page = tally_wire::decode_value::<OwnEntries>(&page.body).unwrap();
        assert_eq!((page.next, page.size), (LeafIndex(4), 4));
        let found = page.entries.iter().map(|it| it.leaf.0).collect::<Vec<_>>();
        assert_eq!(found, [1, 2, 3]);
        let rest = node.get(identity, "/own?from=3").await;
        let rest = tally_wire::decode_value::<OwnEntries>(&rest.body).unwrap();
        assert_eq!(rest.entries, page.entries[2..]);
    }
    let other = Some(issue(&node.rz9, "RZ9/agent/a", always()));
    let page = node.get(other, "/own").await;
    let page = tally_wire::decode_value::<OwnEntries>(&page.body).unwrap();
    let found = page.entries.iter().map(|it| it.leaf.0).collect::<Vec<_>>();
    // The vector's provider is RZ9, and its half is not; where RZ9 asked, it would be.
    assert!(!found.contains(&1) && !found.contains(&3), "{found:?}");
}

#[tokio::test]
async fn own_entries_are_for_members_in_their_own_name() {
    let node = start(&ledger_of("LZ9")).await;
    assert_eq!(node.get(None, "/own").await.status, 401);
    for role in ["auditor", "sidecar", "operator"] {
        let identity = Some(issue(&node.lz9, &format!("LZ9/{role}/x"), always()));
        let refused = node.get(identity, "/own").await;
        assert_eq!((refused.status, refused.code().as_str()), (403, "identity-role-refused"));
    }
    for query in ["?from=", "?from=01", "?first=3", "?from=1&count=2"] {
        let refused = node.get(node.agent(), &format!("/own{query}")).await;
        assert_eq!((refused.status, refused.code().as_str()), (400, "bad-request"), "{query}");
    }
    // What it wrote before it was suspended stays its own.
    node.trust.update(&member("LZ9", &node.lz9, MemberStatus::Suspended));
    assert_eq!(node.get(node.agent(), "/own").await.status, 200);
    assert_eq!(node.get(node.agent(), "/registers").await.status, 403);
}

#[tokio::test]
async fn what_a_reader_has_already_is_not_sent_again() {
    let mut node = Node::start(&leaves(0, 300), head(300)).await;
    let ask_again = async |node: &Node, method: &str, path: &str, tag: &str| {
        let mut stream = node.dial(None).await.unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nif-none-match: {tag}\r\nconnection: close\r\n\r\n"
        );
        ask(&mut stream, &request).await
    };
    for path in ["/checkpoint", "/tile/0/000", "/tile/0/001.p/44"] {
        let first = node.get(None, path).await;
        let tag = first.header("etag").unwrap().to_owned();
        for (method, known) in [
            ("GET", tag.clone()),
            ("HEAD", tag.clone()),
            ("GET", format!("\"x\", W/{tag}")),
            ("GET", "*".to_owned()),
        ] {
            let again = ask_again(&node, method, path, &known).await;
            assert_eq!((again.status, again.body.len()), (304, 0), "{method} {path} {known}");
            assert_eq!(again.header("etag"), Some(tag.as_str()));
            assert_eq!(again.header("cache-control"), first.header("cache-control"));
        }
        let other = ask_again(&node, "GET", path, "\"x\"").await;
        assert_eq!((other.status, &other.body), (200, &first.body), "{path}");
        let head = ask_again(&node, "HEAD", path, "\"x\"").await;
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        let length = first.body.len().to_string();
        assert_eq!(head.header("content-length"), Some(length.as_str()), "{path}");
    }
    // A checkpoint that has changed is sent, whatever its reader has.
    let before = node.get(None, "/checkpoint").await;
    let tag = before.header("etag").unwrap().to_owned();
    node.store.append(&leaves(300, 301), head(301)).unwrap();
    node.publisher.checkpoints().reach(301).await.unwrap();
    let after = ask_again(&node, "GET", "/checkpoint", &tag).await;
    assert_eq!(after.status, 200);
    assert_ne!(after.body, before.body);
    assert_eq!(node.get(node.auditor(), "/tile/entries/000").await.header("etag"), None);
}
