//! Receipts of the exchanges that this member asked for, as files that anybody can check offline:
//! the receipt, what its entry commits to, and the leaves that name the keys.

use axum::extract::{Path, RawQuery, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tally_core::id::ExchangeId;
use tally_core::receipt::Receipt;
use tally_core::refusal::Refusal;
use tally_wire::{decode_value, encode};

use super::request::Unfit;
use super::{Ingress, request};

pub(super) async fn receipt(
    State(ingress): State<Ingress>,
    method: Method,
    Path(exchange): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    if let Err(unfit) = request::reads(&method) {
        return ingress.refuse(&unfit);
    }
    let witnessed = match query.as_deref() {
        None => false,
        Some("witnessed=true") => true,
        Some(_) => {
            let detail = "a receipt takes witnessed=true, or nothing";
            return ingress.refuse(&Unfit::new(Refusal::BadQuery, detail));
        }
    };
    let unknown = Unfit::new(Refusal::UnknownRecord, "this agent has no receipt of that exchange");
    let Ok(exchange) = exchange.parse::<ExchangeId>() else {
        return ingress.refuse(&unknown);
    };
    let received = match ingress.0.store.received(exchange).await {
        Ok(Some(received)) => received,
        Ok(None) => match ingress.0.store.is_promised(exchange).await {
            Ok(true) => return later("owed", true),
            Ok(false) => return ingress.refuse(&unknown),
            Err(_) => return ingress.refuse(&Unfit::new(Refusal::StoreUnavailable, "")),
        },
        Err(_) => {
            let unfit = Unfit::new(Refusal::StoreUnavailable, "");
            return ingress.refuse(&unfit);
        }
    };
    let unavailable = || Unfit::new(Refusal::LedgerUnavailable, "");
    let Ok(registers) = ingress.0.recorder.key_receipts(witnessed).await else {
        return ingress.refuse(&unavailable());
    };
    let mut receipt = received.receipt;
    if witnessed {
        let genesis = ingress.0.genesis.value();
        let Ok(before) = decode_value::<Receipt>(&receipt) else {
            return ingress.refuse(&Unfit::new(Refusal::StoreUnavailable, ""));
        };
        let asked = ingress.0.recorder.witnessed_receipt(&before, &registers, genesis).await;
        receipt = match asked {
            Ok(Some(witnessed)) => encode(&witnessed),
            Ok(None) => return later("witnessed", false),
            Err(_) => return ingress.refuse(&unavailable()),
        };
    }
    let registers: Vec<_> = registers.iter().map(|it| STANDARD.encode(encode(it))).collect();
    let Ok(end) = ingress.0.store.stream_end(received.commitment).await else {
        return ingress.refuse(&Unfit::new(Refusal::StoreUnavailable, ""));
    };
    let opening = received.opening.map(|opening| STANDARD.encode(opening.bytes()));
    let file = json!({
        "tally": 1,
        "receipt": STANDARD.encode(&receipt),
        "genesis": STANDARD.encode(ingress.0.genesis.bytes()),
        "registers": registers,
        "opening": opening,
        "stream_end": end.map(|end| STANDARD.encode(end)),
    });
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (StatusCode::OK, headers, file.to_string()).into_response()
}

/// The entry is promised and not on the ledger yet, or witnesses have not cosigned it: ask again later.
fn later(what: &str, is: bool) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
        (header::RETRY_AFTER, OWED_RETRY_AFTER_S),
    ];
    (StatusCode::ACCEPTED, headers, json!({ "tally": 1, what: is }).to_string()).into_response()
}

/// When to ask for such a receipt again, in seconds.
const OWED_RETRY_AFTER_S: &str = "5";
