use proptest::prelude::*;

use super::*;

pub(super) const fn circumstances() -> Circumstances<'static> {
    let Ok(date) = Date::new(2026, 11, 25) else { panic!("no such day") };
    Circumstances {
        date,
        hour: 14,
        assessment: Some(AssessmentStatus::Met),
        emergency: false,
        records: 7,
        people: 2,
        provider: "RZ9",
        requester: "LZ9",
        source: "fhir",
        purpose: "TREAT",
        user_known: "asserted",
        relationship: Some(Relationship::Caseload),
    }
}

fn holds(text: &str) -> bool {
    let condition = Condition::new(text);
    condition.check().unwrap_or_else(|faults| panic!("{text}: {faults:?}"));
    condition.holds(Extent::Whole, &circumstances())
}

/// All that is told of a condition that is not good.
fn told(text: &str) -> String {
    let condition = Condition::new(text);
    assert!(!condition.holds(Extent::Whole, &circumstances()), "{text}");
    assert!(!condition.holds(Extent::BeforeRecords, &circumstances()), "{text}");
    let faults = condition.check().expect_err(text);
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_condition_is_true_of_what_it_is_asked_about() {
    for text in [
        "context.records <= 1000",
        "context.records == 7 && context.people == 2",
        "context.hour >= 8 && context.hour < 18 && context.weekday <= 5",
        "context.date >= 20260101 && context.date < 20270101",
        "context.emergency || context.user_known == \"asserted\"",
        "[\"caseload\", \"encounter\"].contains(context.relationship)",
        "context.purpose == \"TREAT\" && context.source == \"fhir\"",
        "context.dspt == \"met\"",
        "context.requester == \"LZ9\" && context.provider != context.requester",
        "if context.emergency then true else context.records < 10",
        "context.requester like \"LZ*\" // councils",
        "\n  context\n  .records\n < 10\n",
    ] {
        assert!(holds(text), "{text}");
    }
    for text in [
        "context.records < 7",
        "context.people <= 1",
        "context.weekday == 1",
        "context.user_known == \"verified\"",
        "false",
        "!(context.records <= 1000)",
    ] {
        assert!(!holds(text), "{text}");
    }
}

#[test]
fn what_conditions_may_ask_for_is_documented() {
    let documented = include_str!("../../../../../docs/conditions.md");
    let rows = documented.lines().filter(|line| line.starts_with("| `"));
    let expected = ATTRIBUTES.iter().map(|(name, what)| format!("| `{name}` | {what} |"));
    assert_eq!(rows.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

#[test]
fn an_error_when_it_is_evaluated_is_no_truth() {
    let largest = i64::MAX;
    for text in [
        format!("context.records + {largest} > 0"),
        format!("context.records + {largest} > 0 || true"),
        format!("!(context.records + {largest} > 0)"),
    ] {
        assert!(!holds(&text), "{text}");
    }
}

#[test]
fn what_is_wrong_is_told_with_its_line_and_column() {
    let cases = [
        ("context.records <", "line 1 of the condition, column 18"),
        ("context.records <= 10 &&\n  context.recrods <= 5", "line 2 of the condition, column 3"),
        ("context.records <= \"10\"", "line 1 of the condition, column 20"),
        ("context.records", "line 1 of the condition, column 1"),
        ("context.hour < 18 && principal == context", "line 1 of the condition, column 22"),
    ];
    for (text, place) in cases {
        let told = told(text);
        assert!(told.contains(place), "{text}\n{told}");
    }
    let told = told("context.recrods <= 5");
    assert!(told.contains("recrods") && told.contains("records, relationship"), "{told}");
}

#[test]
fn what_is_more_than_one_expression_is_no_condition() {
    for text in [
        "true }; permit(principal, action, resource) when { true",
        "true }; forbid(principal, action, resource) unless { false",
        // Two clauses would both have to be false for a refusal.
        "true } unless { false",
        "false } unless { true",
        "true } when { false",
        "true //\n}; //",
        "true; true",
        "?principal == 1",
        "",
    ] {
        if !text.is_empty() {
            told(text);
        }
    }
}

#[test]
fn a_condition_knows_only_its_context() {
    for text in [
        "principal == Anybody::\"anybody\"",
        "action == Action::\"release\"",
        "resource has name",
        "context.records.people == 1",
        "now() > datetime(\"2026-01-01\")",
        "Person::\"x\" == Person::\"x\"",
    ] {
        told(text);
    }
    assert!(!holds("context has nothing && context.nothing"));
}

#[test]
fn a_condition_has_limits() {
    let long = format!("true{}", " ".repeat(CONDITION_LEN_MAX));
    assert!(told(&long).contains("at most 4096"));
    let wide = format!("true{}", " && true".repeat(TOKENS_MAX / 2));
    assert!(told(&wide).contains("more than 512"));
    let deep = format!("{}true{}", "(".repeat(NESTING_MAX + 1), ")".repeat(NESTING_MAX + 1));
    assert!(told(&deep).contains("brackets within brackets"));
    let least = format!("{}true{}", "(".repeat(NESTING_MAX), ")".repeat(NESTING_MAX));
    assert!(holds(&least));
    assert!(holds(&format!("true{}", " && true".repeat(TOKENS_MAX / 2 - 1))));
}

#[test]
fn the_deepest_conditions_fit_a_small_stack() {
    let small = std::thread::Builder::new().stack_size(2 * 1024 * 1024);
    let judge = || {
        let many = |part: &str| part.repeat(TOKENS_MAX / 3);
        for text in [
            format!("{}false{}", "if true then ".repeat(120), " else true".repeat(120)),
            format!("0{} < 0", "+ 1".repeat(250)),
            format!("false {}", many("|| false ")),
            format!("context{}", many(".records")),
            "!".repeat(400),
            "-".repeat(400),
            "(".repeat(4_000),
            "[".repeat(4_000),
            "\"".repeat(4_000),
        ] {
            assert!(!Condition::new(&text).holds(Extent::Whole, &circumstances()), "{text}");
        }
    };
    #[allow(
        clippy::disallowed_methods,
        reason = "a test of what a thread of the agent's size takes"
    )]
    small.spawn(judge).unwrap().join().unwrap();
}

/// What is refused before any record was looked at says nothing of whether there is one.
#[test]
fn what_asks_for_no_count_is_asked_before_any_record() {
    let early = |text: &str| {
        let condition = Condition::new(text);
        condition.check().unwrap();
        let circumstances = Circumstances { records: 0, people: 0, ..circumstances() };
        (condition.counts(), condition.holds(Extent::BeforeRecords, &circumstances))
    };
    assert_eq!(early("context.hour < 8"), (false, false));
    assert_eq!(early("context.hour > 8"), (false, true));
    // Of these the first part alone.
    assert_eq!(early("context.hour < 8 && context.records > 3"), (true, false));
    assert_eq!(early("context.people == 2 && context.hour < 8"), (true, false));
    assert_eq!(early("context.hour > 8 && context.records > 3"), (true, true));
    // Nothing can be said of these yet.
    assert_eq!(early("context.hour < 8 || context.records > 3"), (true, true));
    assert_eq!(
        early("if context.hour < 8 then false && true else context.records > 3"),
        (true, true)
    );
    assert_eq!(early("(context.hour < 8 && context.records > 3)"), (true, true));
    assert_eq!(early("context[\"people\"] == 2"), (true, true));
    // A text is no part of the language.
    assert_eq!(early("context.purpose != \"a && b\" && context.hour < 8"), (false, false));
    assert_eq!(early("context.hour > 8 // && false\n && context.records > 3"), (true, true));
}

/// A condition of pieces, so that many are good.
fn any_condition() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "true",
        "false",
        "context.emergency",
        "context.records <= 3",
        "context.people == 2",
        "context.hour < 12",
        "context.weekday == 3",
        "context.purpose == \"TREAT\"",
        "context.records + 9223372036854775807 > 0",
        "context[\"records\"] > 5",
    ]);
    leaf.prop_map(str::to_owned).prop_recursive(4, 24, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("{one} && {other}")),
            (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("({one} || {other})")),
            (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("{one} || {other}")),
            inner.clone().prop_map(|one| format!("!({one})")),
            (inner.clone(), inner).prop_map(|(one, other)| {
                format!("if {one} then {other} else context.records == 7")
            }),
        ]
    })
}

/// What may stand in a file.
fn any_text() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "context",
        ".",
        "records",
        "<=",
        "(",
        ")",
        "{",
        "}",
        "[",
        "]",
        "\"",
        "\\",
        "&&",
        "||",
        "!",
        "-",
        "if ",
        "then ",
        "else ",
        "has ",
        "like ",
        "is ",
        "in ",
        "//",
        "\n",
        "principal",
        ";",
        "permit",
        "unless",
        "::",
        "@",
        "?",
        "1000",
        "9223372036854775808",
        "é",
        "\u{0}",
        "true",
        ".contains(",
        ".isEmpty()",
        "ip(",
        "decimal(",
        "datetime(",
        ",",
        "*",
        "+",
        "==",
        "__cedar",
    ]);
    prop_oneof![
        prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat()),
        any::<String>(),
        any_condition(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn no_text_of_a_condition_panics(text in any_text(), records in any::<usize>()) {
        let condition = Condition::new(&text);
        let circumstances = Circumstances { records, ..circumstances() };
        let good = condition.check().is_ok();
        let held = condition.holds(Extent::Whole, &circumstances);
        prop_assert!(good || !held);
    }

    #[test]
    fn what_is_said_early_refuses_nothing_that_would_hold(
        text in any_condition(),
        records in 0..9_usize,
        people in 0..4_usize,
        hour in 0..24_u8,
    ) {
        let condition = Condition::new(&text);
        prop_assume!(condition.check().is_ok());
        let whole = Circumstances { records, people, hour, ..circumstances() };
        let early = Circumstances { records: 0, people: 0, ..whole };
        if condition.holds(Extent::Whole, &whole) {
            prop_assert!(condition.holds(Extent::BeforeRecords, &early));
        }
        if !condition.counts() {
            let held = condition.holds(Extent::Whole, &whole);
            prop_assert_eq!(condition.holds(Extent::BeforeRecords, &early), held);
        }
    }
}
