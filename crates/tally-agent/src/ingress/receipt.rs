//! Receipts of the exchanges that this member asked for, as files that anybody can check offline:
//! the receipt, what its entry commits to, and the leaves that name the keys.

use axum::extract::{Path, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tally_core::id::ExchangeId;
use tally_core::refusal::Refusal;

use super::request::Unfit;
use super::{Ingress, request};

pub(super) async fn receipt(
    State(ingress): State<Ingress>,
    method: Method,
    Path(exchange): Path<String>,
) -> Response {
    if let Err(unfit) = request::reads(&method) {
        return ingress.refuse(&unfit);
    }
    let unknown = Unfit::new(Refusal::UnknownRecord, "this agent has no receipt of that exchange");
    let Ok(exchange) = exchange.parse::<ExchangeId>() else {
        return ingress.refuse(&unknown);
    };
    let received = match ingress.0.store.received(exchange).await {
        Ok(Some(received)) => received,
        Ok(None) => match ingress.0.store.is_promised(exchange).await {
            Ok(true) => return owed(),
            Ok(false) => return ingress.refuse(&unknown),
            Err(_) => return ingress.refuse(&Unfit::new(Refusal::StoreUnavailable, "")),
        },
        Err(_) => {
            let unfit = Unfit::new(Refusal::StoreUnavailable, "");
            return ingress.refuse(&unfit);
        }
    };
    let Ok(registers) = ingress.0.recorder.member_receipts().await else {
        return ingress.refuse(&Unfit::new(Refusal::LedgerUnavailable, ""));
    };
    let registers: Vec<_> = registers.iter().map(|it| STANDARD.encode(it)).collect();
    let opening = received.opening.map(|opening| STANDARD.encode(opening.bytes()));
    let file = json!({
        "tally": 1,
        "receipt": STANDARD.encode(&received.receipt),
        "genesis": STANDARD.encode(ingress.0.genesis.bytes()),
        "registers": registers,
        "opening": opening,
    });
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (StatusCode::OK, headers, file.to_string()).into_response()
}

/// The entry is promised and not on the ledger yet: ask again later.
fn owed() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
        (header::RETRY_AFTER, OWED_RETRY_AFTER_S),
    ];
    (StatusCode::ACCEPTED, headers, json!({ "tally": 1, "owed": true }).to_string()).into_response()
}

/// When to ask for a receipt again that is owed, in seconds.
const OWED_RETRY_AFTER_S: &str = "5";
