//! The table itself: HL7 v3-ActReason 4.0.1 below PurposeOfUse in the order of its tree, then the
//! local list.

use super::{Class, Row};
use crate::id::PurposeSystem;

macro_rules! rows {
    ($($system:ident $code:literal, $parent:expr, $class:expr, $display:literal;)*) => {
        pub(super) const ROWS: &[Row] = &[$(Row {
            system: PurposeSystem::$system,
            code: $code,
            parent: $parent,
            class: $class,
            display: $display,
        },)*];
    };
}

rows! {
    // The root is no purpose, but a denial may name it.
    ActReason "PurposeOfUse", None, None, "any purpose";

    ActReason "HMARKT", Some("PurposeOfUse"), Some(Class::Forbidden), "healthcare marketing";

    ActReason "HOPERAT", Some("PurposeOfUse"), Some(Class::Planning), "healthcare operations";
    ActReason "CAREMGT", Some("HOPERAT"), Some(Class::Planning), "care management";
    ActReason "DONAT", Some("HOPERAT"), None, "donation";
    ActReason "FRAUD", Some("HOPERAT"), None, "fraud";
    ActReason "GOV", Some("HOPERAT"), Some(Class::RequiredByLaw), "government";
    ActReason "HACCRED", Some("HOPERAT"), None, "health accreditation";
    ActReason "HCOMPL", Some("HOPERAT"), None, "health compliance";
    ActReason "HDECD", Some("HOPERAT"), None, "decedent";
    ActReason "HDIRECT", Some("HOPERAT"), None, "directory";
    ActReason "HDM", Some("HOPERAT"), None, "healthcare delivery management";
    ActReason "HLEGAL", Some("HOPERAT"), Some(Class::RequiredByLaw), "legal";
    ActReason "HOUTCOMS", Some("HOPERAT"), Some(Class::Planning), "health outcome measure";
    ActReason "HPRGRP", Some("HOPERAT"), Some(Class::Planning), "health program reporting";
    ActReason "HQUALIMP", Some("HOPERAT"), Some(Class::Planning), "health quality improvement";
    ActReason "HSYSADMIN", Some("HOPERAT"), None, "health system administration";
    ActReason "LABELING", Some("HSYSADMIN"), None, "labeling";
    ActReason "METAMGT", Some("HSYSADMIN"), None, "metadata management";
    ActReason "MEMADMIN", Some("HOPERAT"), None, "member administration";
    ActReason "MILCDM", Some("HOPERAT"), None, "military command";
    ActReason "PATADMIN", Some("HOPERAT"), None, "patient administration";
    ActReason "PATSFTY", Some("HOPERAT"), None, "patient safety";
    ActReason "PERFMSR", Some("HOPERAT"), Some(Class::Planning), "performance measure";
    ActReason "RECORDMGT", Some("HOPERAT"), None, "records management";
    ActReason "SYSDEV", Some("HOPERAT"), None, "system development";
    ActReason "HTEST", Some("SYSDEV"), Some(Class::Test), "test health data";
    ActReason "TRAIN", Some("HOPERAT"), Some(Class::Test), "training";

    ActReason "HPAYMT", Some("PurposeOfUse"), Some(Class::Payment), "healthcare payment";
    ActReason "CLMATTCH", Some("HPAYMT"), None, "claim attachment";
    ActReason "COVAUTH", Some("HPAYMT"), None, "coverage authorization";
    ActReason "COVERAGE", Some("HPAYMT"), None, "coverage under policy or program";
    ActReason "ELIGDTRM", Some("COVERAGE"), None, "eligibility determination";
    ActReason "ELIGVER", Some("COVERAGE"), None, "eligibility verification";
    ActReason "ENROLLM", Some("COVERAGE"), None, "enrollment";
    ActReason "MILDCRG", Some("COVERAGE"), None, "military discharge";
    ActReason "REMITADV", Some("HPAYMT"), None, "remittance advice";

    ActReason "HRESCH", Some("PurposeOfUse"), Some(Class::Research), "healthcare research";
    ActReason "BIORCH", Some("HRESCH"), Some(Class::Research), "biomedical research";
    ActReason "CLINTRCH", Some("HRESCH"), Some(Class::Research), "clinical trial research";
    ActReason "CLINTRCHNPC", Some("CLINTRCH"), None, "clinical trial research without patient care";
    ActReason "CLINTRCHPC", Some("CLINTRCH"), None, "clinical trial research with patient care";
    ActReason "PRECLINTRCH", Some("CLINTRCH"), None, "preclinical trial research";
    ActReason "DSRCH", Some("HRESCH"), Some(Class::Research), "disease specific healthcare research";
    ActReason "POARCH", Some("HRESCH"), None, "population origins or ancestry healthcare research";
    ActReason "TRANSRCH", Some("HRESCH"), Some(Class::Research), "translational healthcare research";

    ActReason "PATRQT", Some("PurposeOfUse"), Some(Class::SubjectAccess), "patient requested";
    ActReason "FAMRQT", Some("PATRQT"), Some(Class::SubjectAccess), "family requested";
    ActReason "PWATRNY", Some("PATRQT"), Some(Class::SubjectAccess), "power of attorney";
    ActReason "SUPNWK", Some("PATRQT"), None, "support network";

    ActReason "PUBHLTH", Some("PurposeOfUse"), Some(Class::PublicHealth), "public health";
    ActReason "DISASTER", Some("PUBHLTH"), Some(Class::PublicHealth), "disaster";
    ActReason "THREAT", Some("PUBHLTH"), Some(Class::PublicHealth), "threat";

    ActReason "TREAT", Some("PurposeOfUse"), Some(Class::DirectCare), "treatment";
    ActReason "CLINTRL", Some("TREAT"), None, "clinical trial";
    ActReason "COC", Some("TREAT"), Some(Class::DirectCare), "coordination of care";
    // Emergency care is direct care: an agreement about treatment covers it, with a reason.
    ActReason "ETREAT", Some("TREAT"), Some(Class::DirectCare), "Emergency Treatment";
    ActReason "BTG", Some("ETREAT"), Some(Class::Override), "break the glass";
    ActReason "ERTREAT", Some("ETREAT"), Some(Class::DirectCare), "emergency room treatment";
    ActReason "POPHLTH", Some("TREAT"), Some(Class::Planning), "population health";

    // Councils' purposes, which HL7 has no code for. Care Act 2014 s.9 and s.24 to 25, s.42;
    // Children Act 1989 s.47. A denial of treatment, or of operations, reaches those below it.
    Local "CARE-ASSESSMENT", Some("TREAT"), Some(Class::DirectCare), "assessing needs for care and support";
    Local "CARE-SUPPORT", Some("TREAT"), Some(Class::DirectCare), "planning and giving a person's care and support";
    Local "SAFEGUARDING", None, Some(Class::Safeguarding), "protecting a child or an adult at risk";
    Local "ELIGIBILITY", Some("HPAYMT"), Some(Class::Payment), "deciding entitlement to a service or benefit";
    Local "PLANNING", Some("HOPERAT"), Some(Class::Planning), "planning and commissioning services";
    Local "STATUTORY-RETURN", None, Some(Class::RequiredByLaw), "a return that a statute requires";
    Local "TRANSPARENCY", None, Some(Class::OpenData), "reading what is published anyway";
}
