//! Which Patient has which NHS number, where a source's records do not say: a file that the
//! organisation keeps, and what Patients themselves say.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use tally_core::id::{BadNhsNumber, CheckDigit, NhsNumber};

use crate::csv::{CsvError, CsvLimits, Reader};
use crate::fhir::is_fhir_id;

/// NHS numbers by the ids of Patients. Its `Debug` says how many there are.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Subjects {
    numbers: BTreeMap<String, BTreeSet<NhsNumber>>,
    patients: BTreeMap<NhsNumber, BTreeSet<String>>,
}

/// Why a subjects file can't be used: whoever keeps it has to mend it. Holds no cell of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubjectsError {
    /// It is no CSV.
    #[error(transparent)]
    Csv(#[from] CsvError),
    /// Its first line is not `patient_id,nhs_number`.
    #[error("line 1: the header has to be patient_id,nhs_number")]
    Header,
    /// A line has no NHS number.
    #[error("line {line}: {why}")]
    BadNumber {
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        why: BadNhsNumber,
    },
    /// A line's Patient id is not a FHIR id.
    #[error("line {line}: the Patient's id is not a FHIR id")]
    BadId {
        /// The line, from 1.
        line: u64,
    },
    /// A line gives a Patient another NHS number than an earlier one.
    #[error("line {line}: the Patient has another NHS number on an earlier line")]
    Conflict {
        /// The line, from 1.
        line: u64,
    },
    /// There are more lines than the limit.
    #[error("line {line}: the file has more lines than the limit")]
    TooMany {
        /// The line, from 1.
        line: u64,
    },
}

impl Subjects {
    /// Reads a subjects file: CSV with the header `patient_id,nhs_number`, at most `rows_max` rows.
    /// `check`: whether the numbers' check digits have to be right.
    ///
    /// # Errors
    ///
    /// When the file is not that. Half a file would hide objections, so all of it has to be right.
    pub fn parse(bytes: &[u8], check: CheckDigit, rows_max: u64) -> Result<Self, SubjectsError> {
        let mut subjects = Self::default();
        let mut failed = None;
        let mut header = true;
        let mut rows = 0;
        let mut reader = Reader::new(CsvLimits::default());
        let mut take = |line: u64, fields: &[&[u8]]| {
            if failed.is_some() {
                return Ok(());
            }
            let taken = if header {
                let is_header = fields == [&b"patient_id"[..], &b"nhs_number"[..]];
                if is_header { Ok(()) } else { Err(SubjectsError::Header) }
            } else {
                rows += 1;
                if rows > rows_max {
                    Err(SubjectsError::TooMany { line })
                } else {
                    subjects.take(line, fields, check)
                }
            };
            header = false;
            failed = taken.err();
            Ok(())
        };
        reader.push(bytes, &mut |it| take(it.line(), &it.fields().collect::<Vec<_>>()))?;
        reader.finish(&mut |it| take(it.line(), &it.fields().collect::<Vec<_>>()))?;
        match failed {
            Some(error) => Err(error),
            None if header => Err(SubjectsError::Header),
            None => Ok(subjects),
        }
    }

    /// Adds what a Patient says of itself. Numbers that disagree are all kept: each person's
    /// directives then count.
    pub fn learn(&mut self, patient_id: &str, number: NhsNumber) {
        self.numbers.entry(patient_id.to_owned()).or_default().insert(number);
        self.patients.entry(number).or_default().insert(patient_id.to_owned());
    }

    /// The NHS numbers of a Patient, ascending.
    pub fn numbers_of(&self, patient_id: &str) -> impl Iterator<Item = NhsNumber> {
        self.numbers.get(patient_id).into_iter().flatten().copied()
    }

    /// Every NHS number that some Patient has, ascending.
    pub fn numbers(&self) -> impl Iterator<Item = &NhsNumber> {
        self.patients.keys()
    }

    /// The Patients who have an NHS number, ascending.
    pub fn patients_of(&self, number: &NhsNumber) -> impl Iterator<Item = &str> {
        self.patients.get(number).into_iter().flatten().map(String::as_str)
    }

    fn take(
        &mut self,
        line: u64,
        fields: &[&[u8]],
        check: CheckDigit,
    ) -> Result<(), SubjectsError> {
        let texts: Vec<_> = fields.iter().map(|field| std::str::from_utf8(field).ok()).collect();
        let (id, number) = match texts.as_slice() {
            [Some(id), Some(number)] => (*id, *number),
            _ => return Err(SubjectsError::BadId { line }),
        };
        if !is_fhir_id(id) {
            return Err(SubjectsError::BadId { line });
        }
        let number = NhsNumber::parse(number, check);
        let number = number.map_err(|why| SubjectsError::BadNumber { line, why })?;
        let known = self.numbers.get(id);
        if known.is_some_and(|known| !known.contains(&number)) {
            return Err(SubjectsError::Conflict { line });
        }
        self.learn(id, number);
        Ok(())
    }
}

impl fmt::Debug for Subjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subjects({})", self.numbers.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str, id: &str) -> Result<Vec<String>, SubjectsError> {
        let subjects = Subjects::parse(text.as_bytes(), CheckDigit::Checked, 3)?;
        Ok(subjects.numbers_of(id).map(|number| number.reveal().to_owned()).collect())
    }

    #[test]
    fn a_file_gives_patients_their_numbers() {
        let text = "patient_id,nhs_number\r\np1,9990000018\r\np2,999 000 0026\r\np1,9990000018";
        assert_eq!(numbers(text, "p1").unwrap(), ["9990000018"]);
        assert_eq!(numbers(text, "p2").unwrap(), ["9990000026"]);
        assert!(numbers(text, "p3").unwrap().is_empty());
        let mut subjects = Subjects::parse(text.as_bytes(), CheckDigit::Checked, 3).unwrap();
        let number = NhsNumber::parse("9990000026", CheckDigit::Checked).unwrap();
        subjects.learn("p4", number);
        assert_eq!(subjects.patients_of(&number).collect::<Vec<_>>(), ["p2", "p4"]);
        assert!(numbers("patient_id,nhs_number\n", "p1").unwrap().is_empty());
    }

    #[test]
    fn a_file_that_is_not_right_is_not_used_at_all() {
        let header = "patient_id,nhs_number\np1,9990000018\n";
        let with = |line: &str| numbers(&format!("{header}{line}\n"), "p1").unwrap_err();
        assert_eq!(with("p2,12"), SubjectsError::BadNumber { line: 3, why: BadNhsNumber::Length });
        let wrong = SubjectsError::BadNumber { line: 3, why: BadNhsNumber::CheckDigit };
        assert_eq!(with("p2,9990000019"), wrong);
        assert_eq!(with("p 2,9990000018"), SubjectsError::BadId { line: 3 });
        assert_eq!(with("p2"), SubjectsError::BadId { line: 3 });
        assert_eq!(with("p1,9990000026"), SubjectsError::Conflict { line: 3 });
        let many = "a,9990000018\nb,9990000018\nc,9990000018";
        assert_eq!(with(many), SubjectsError::TooMany { line: 5 });
        assert!(matches!(with("p2,\""), SubjectsError::Csv(_)));
        assert_eq!(numbers("", "p1"), Err(SubjectsError::Header));
        assert_eq!(numbers("nhs_number,patient_id\n", "p1"), Err(SubjectsError::Header));
    }
}
