use proptest::prelude::*;

use super::*;
use crate::checkpoint::tests::{LOG_KEY, ORIGIN, PUBLISHED, WITNESS_KEY, checkpoint, signer};
use crate::cosignature::Cosigner;
use crate::key::SigningKey;
use crate::note::{BadNoteKey, KeyName};

fn witness(seed: u8) -> Cosigner {
    let name = KeyName::new(&format!("witness.example/{seed}")).unwrap();
    Cosigner::new(name, SigningKey::from_seed(&[seed; 32]))
}

fn signed_by(seeds: &[u8]) -> SignedCheckpoint {
    let mut signed = SignedCheckpoint::sign(checkpoint(5), &signer(ORIGIN, 1)).unwrap();
    for seed in seeds {
        signed.add(witness(*seed).cosign(&checkpoint(5), u64::from(*seed)).unwrap()).unwrap();
    }
    signed
}

/// Replaces `<1>` by the key of witness 1, and so on, and `<log>` by that of the log.
fn parse(text: &str) -> Result<Policy, BadPolicyText> {
    let mut text = text.replace("<log>", &signer(ORIGIN, 1).key().to_string());
    for seed in 11..=16 {
        text = text.replace(&format!("<{seed}>"), &witness(seed).key().to_string());
    }
    Policy::parse(text.as_bytes())
}

/// The example of the specification.
const EXAMPLE: &str = "log <log>

witness X1 <11>
witness X2 <12>
witness X3 <13>
group X-witnesses 2 X1 X2 X3

witness Y1 <14>
witness Y2 <15>
witness Y3 <16>
group Y-witnesses any Y1 Y2 Y3

group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
";

#[test]
fn the_example_of_the_specification_asks_for_two_and_one() {
    let policy = parse(EXAMPLE).unwrap();
    for (seeds, satisfied) in [
        (vec![], false),
        (vec![11, 12, 13], false),
        (vec![11, 14, 15, 16], false),
        (vec![11, 11, 14], false),
        (vec![11, 13, 15], true),
        (vec![16, 13, 12, 11], true),
    ] {
        let checked = policy.check(&signed_by(&seeds));
        assert_eq!(checked.is_ok(), satisfied, "{seeds:?}");
        assert!(satisfied || checked == Err(NotSatisfied::NoQuorum));
    }
    let signed = signed_by(&[11, 13, 15]);
    let satisfied = policy.check(&signed).unwrap();
    assert_eq!(satisfied.logs, [signer(ORIGIN, 1).key()]);
    let times: Vec<_> = satisfied.witnesses.iter().map(|witness| witness.time_s).collect();
    assert_eq!(times, [Some(11), Some(13), Some(15)]);
}

#[test]
fn a_public_checkpoint_satisfies_a_policy_of_public_keys() {
    let text = format!("log {LOG_KEY}\nwitness remora {WITNESS_KEY}\nquorum remora\n");
    let policy = Policy::parse(text.as_bytes()).unwrap();
    let signed = SignedCheckpoint::parse(PUBLISHED.as_bytes()).unwrap();
    assert_eq!(policy.check(&signed).unwrap().witnesses.len(), 1);
}

#[test]
fn a_log_signs_under_its_own_name_whatever_the_witnesses_say() {
    let other = SignedCheckpoint::sign(checkpoint(5), &signer("other.example", 2)).unwrap();
    let keys = [signer("other.example", 2).key().clone()];
    let policy = Policy::threshold(keys, [], 0).unwrap();
    assert_eq!(policy.check(&other), Err(NotSatisfied::NoLog));
    let no_logs = parse("witness a <11>\nquorum a\n").unwrap();
    assert_eq!(no_logs.check(&signed_by(&[11])), Err(NotSatisfied::NoLog));
}

#[test]
fn a_forged_cosignature_refuses_the_checkpoint() {
    let mut signed = signed_by(&[11, 12]);
    let forged = witness(13).cosign(&checkpoint(6), 7).unwrap();
    signed.add(forged).unwrap();
    let policy = parse("log <log>\nwitness a <11>\nwitness c <13>\nquorum a\n").unwrap();
    let bad = NotVerified::BadSignature(witness(13).key().name().clone());
    assert_eq!(policy.check(&signed), Err(NotSatisfied::NotVerified(bad)));
}

#[test]
fn space_and_comments_mean_nothing() {
    let text = b" \t# caf\xe9\n\n\tlog\t<log>  https://log.example/ \n#x\n quorum none";
    let text: Vec<u8> = {
        let log = signer(ORIGIN, 1).key().to_string();
        let place = text.windows(5).position(|window| window == b"<log>").unwrap();
        [&text[..place], log.as_bytes(), &text[place + 5..]].concat()
    };
    let policy = Policy::parse(&text).unwrap();
    assert_eq!(policy.logs()[0].url.as_deref(), Some("https://log.example/"));
    assert!(policy.check(&signed_by(&[])).is_ok());
}

#[test]
fn what_is_no_policy_is_refused_with_its_line() {
    use BadPolicy as Fault;
    let bad = |line, fault| Err(BadPolicyText::BadPolicy { line, fault });
    for (text, answer) in [
        ("", Err(BadPolicyText::NoQuorum)),
        ("log <log>\n", Err(BadPolicyText::NoQuorum)),
        ("quorum none\nquorum none\n", bad(2, Fault::TwoQuorums)),
        ("quorum a\nwitness a <11>\n", bad(1, Fault::UnknownName)),
        ("witness a <11>\nquorum b\n", bad(2, Fault::UnknownName)),
        ("witness a <11>\nwitness a <12>\n", bad(2, Fault::DuplicateName)),
        ("witness a <11>\nwitness b <11>\n", bad(2, Fault::DuplicateKey)),
        ("witness none <11>\n", bad(1, Fault::BadName)),
        ("witness a <log>\n", bad(1, Fault::WrongKind)),
        ("log <11>\n", bad(1, Fault::WrongKind)),
        ("log <log>\nlog <log>\n", bad(2, Fault::DuplicateKey)),
        ("witness a <11>\ngroup g 1 a a\n", bad(2, Fault::UsedTwice)),
        ("witness a <11>\ngroup g 1 a\ngroup h 1 a\n", bad(3, Fault::UsedTwice)),
        ("witness a <11>\ngroup g 2 a\n", bad(2, Fault::BadThreshold)),
        ("witness a <11>\ngroup g 0 a\n", bad(2, Fault::BadThreshold)),
        ("witness a <11>\ngroup g 01 a\n", bad(2, Fault::BadThreshold)),
        ("group g all\n", bad(1, Fault::BadThreshold)),
        ("group g any none\n", bad(1, Fault::UnknownName)),
        ("group g any g\n", bad(1, Fault::UnknownName)),
        ("quorum\n", Err(BadPolicyText::BadLine(1))),
        ("\nlog <log> a b\n", Err(BadPolicyText::BadLine(2))),
        ("threshold 2\n", Err(BadPolicyText::BadLine(1))),
        ("quorum none\r\n", Err(BadPolicyText::BadLine(1))),
        ("log x\n", Err(BadPolicyText::BadKey { line: 1, fault: BadNoteKey::BadText })),
    ] {
        assert_eq!(parse(text), answer, "{text:?}");
    }
    let long = vec![b'#'; POLICY_BYTES_MAX + 1];
    assert_eq!(Policy::parse(&long), Err(BadPolicyText::TooLong(POLICY_BYTES_MAX + 1)));
}

#[test]
fn a_policy_reads_as_it_was_printed() {
    for text in [EXAMPLE, "quorum none\n", "witness a <11> https://w.example/\nquorum a\n"] {
        let policy = parse(text).unwrap();
        assert_eq!(Policy::parse(policy.to_string().as_bytes()), Ok(policy));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_threshold_counts_witnesses(
        listed in prop::collection::btree_set(11_u8..17, 1..6),
        signed in prop::collection::btree_set(11_u8..17, 0..6),
        threshold in 0_usize..6,
    ) {
        let witnesses = listed.iter().map(|seed| (format!("w{seed}"), witness(*seed).key().clone()));
        let policy = Policy::threshold([signer(ORIGIN, 1).key().clone()], witnesses, threshold);
        if threshold > listed.len() {
            prop_assert_eq!(policy, Err(BadPolicy::BadThreshold));
        } else {
            let seeds: Vec<u8> = signed.iter().copied().collect();
            let enough = listed.intersection(&signed).count() >= threshold;
            prop_assert_eq!(policy.unwrap().check(&signed_by(&seeds)).is_ok(), enough);
        }
    }
}
