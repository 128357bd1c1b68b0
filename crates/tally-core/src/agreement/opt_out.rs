//! Where the national data opt-out is asked, as far as the agreement says.

use super::{CommonLaw, DataKind, Share};
use crate::id::Purpose;
use crate::purpose::{Class, class_of};

impl Share {
    /// Whether use under this share asks the national data opt-out: confidential patient information,
    /// for planning or research, on a basis that does not set it aside.
    ///
    /// What the opt-out does not reach (policy of DCB3058): individual care; the person's explicit
    /// consent to that use; what a law or a court requires; an overriding public interest;
    /// communicable disease (regulation 3 of the COPI regulations); and what is not confidential, such
    /// as data anonymised by the ICO's code. Section 251 support sets nothing aside. Exemptions that
    /// the agreement has no word for (official statistics, single registries) are not made.
    #[must_use]
    pub fn asks_opt_out(&self, purpose: &Purpose) -> bool {
        let set_aside = matches!(
            self.basis.common_law,
            Some(
                CommonLaw::ExplicitConsent
                    | CommonLaw::Statute
                    | CommonLaw::CourtOrder
                    | CommonLaw::CopiRegulation3
                    | CommonLaw::PublicInterest
            )
        );
        let patient_information = self.confidential && self.data != DataKind::None;
        patient_information && !set_aside && class_of(purpose).is_some_and(Class::asks_opt_out)
    }
}
