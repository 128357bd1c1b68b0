//! What a request is refused with, as JSON: `{"code":"…","text":"…"}`.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

macro_rules! http_errors {
    ($($variant:ident, $status:ident, $code:literal, $text:literal;)*) => {
        /// Why a request has no other answer.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum HttpError {
            $(#[doc = $text] $variant,)*
        }

        impl HttpError {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The code in the answer.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// The status of the answer.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)* }
            }

            const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

http_errors! {
    BadRequest, BAD_REQUEST, "bad-request", "The query can't be read.";
    RequestUnreadable, BAD_REQUEST, "bad-request", "The request can't be read: see docs/ledger.md for its keys.";
    CertificateMissing, UNAUTHORIZED, "certificate-missing",
        "This is for members of the mesh. Present a certificate that your member's CA has issued.";
    RoleRefused, FORBIDDEN, "identity-role-refused",
        "A workload of this role has no business here.";
    MemberSuspended, FORBIDDEN, "member-suspended",
        "The member is suspended: it may record what it owes, and reads what is its own elsewhere.";
    NotFound, NOT_FOUND, "not-found",
        "There is nothing here, or the ledger has not grown so far.";
    MethodRefused, METHOD_NOT_ALLOWED, "method-refused", "This is not asked with this method: reads are GET and HEAD, changes of the cluster POST.";
    TilesUnreadable, INTERNAL_SERVER_ERROR, "tiles-unreadable",
        "A file of this node is missing or damaged. Ask another node, and tell who runs this one.";
    NotPublished, SERVICE_UNAVAILABLE, "not-published",
        "This node has not caught up with what it had published. Ask again, or ask another node.";
    TooBusy, SERVICE_UNAVAILABLE, "too-busy", "Too much is being read. Ask again.";
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let body = json!({ "code": self.code(), "text": self.text() });
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.status() == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
