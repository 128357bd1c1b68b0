//! The ingress: where the member's applications ask, over HTTP on loopback, as if it were the other
//! organisation's server. `/fhir/{member}/…` is a FHIR R4 endpoint, `/data/{member}/{dataset}` a
//! dataset, `/catalogue` says what there is, `/receipts/{exchange}` proves what was released.
//!
//! Invariant: what an application gets has its entry on the ledger; what it is refused says what
//! would make it lawful and whom to ask. Nothing that is asked is logged: a path or a query may name
//! a person.

mod answer;
mod beside;
mod catalogue;
mod conditions;
mod fhir;
mod form;
mod format;
mod guard;
mod head;
mod http_date;
mod links;
mod listen;
mod receipt;
mod request;
mod request_ids;
mod token;
mod unserved;
mod users;
mod validators;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::any;
use tally_core::Encoded;
use tally_core::claims::User;
use tally_core::entry::Genesis;
use tally_core::id::{MemberId, OdsCode, Purpose, SourceId};
use tally_core::refusal::Refusal;
use tally_net::Accepted;
use tokio::sync::{mpsc, watch};

use crate::base_url::BaseUrl;
use crate::clock::wall;
use crate::config::{IngressAddress, IngressSettings};
use crate::exchange::{Ask, Head, Outcomes, Requester, Side};
use crate::http::{HttpLimits, HttpServer, Shedding};
use crate::recorder::Recorder;
use crate::replica::Replica;
use crate::source::Sources;
use crate::store::Store;
use answer::{Asked, Form, answer, refused_here};
use beside::Door;
use guard::Scheme;
use request::{Said, Unfit, Wanted, is_self_claimed};

pub use listen::{IngressListenError, IngressListener};
pub use token::{KeyFileError, Tokens};
pub(crate) use unserved::unserved;
pub use users::Users;

/// What the ingress works with.
pub struct IngressParts {
    /// Whose agent it is.
    pub member: MemberId,
    /// Leaf 0 of the mesh.
    pub genesis: Encoded<Genesis>,
    /// How its applications are known.
    pub settings: watch::Receiver<IngressSettings>,
    /// Checks the tokens of its users, where it takes any.
    pub tokens: Option<Tokens>,
    /// Asks other members.
    pub requester: Requester,
    /// The registers.
    pub replica: Replica,
    /// Asks the ledger.
    pub recorder: Recorder,
    /// Receipts.
    pub store: Store,
    /// The own sources, for the catalogue.
    pub sources: Arc<Sources>,
    /// Counts what is refused here.
    pub outcomes: Arc<dyn Outcomes>,
    /// How many requests each user may have in flight.
    pub users: Users,
}

/// Cheap to clone. With the door through which its application came.
#[derive(Clone)]
struct Ingress(Arc<IngressParts>, Door);

/// An ingress that serves until it is stopped or dropped.
pub struct IngressServer {
    /// Applications that reach the agent itself.
    pub own: HttpServer,
    /// Applications that reach it through a sidecar.
    pub of_sidecars: HttpServer,
}

/// Serves applications: those that reach the agent's own socket, and those of its sidecars.
#[must_use]
pub fn serve(
    (listener, sidecars): (IngressListener, Option<mpsc::Receiver<Accepted>>),
    parts: IngressParts,
    (limits, shedding, of_sidecars): (HttpLimits, Shedding, Shedding),
) -> IngressServer {
    let address = match listener.address() {
        Ok(IngressAddress::Tcp(address)) => Some(address),
        Ok(IngressAddress::Unix(_)) | Err(_) => None,
    };
    let parts = Arc::new(parts);
    let of_sidecars = beside::serve(sidecars, &parts, of_sidecars);
    let shedding = shedding.saying(answer::full());
    let own = listener.serve(router(Ingress(parts, Door::Own(address))), limits, shedding);
    IngressServer { own, of_sidecars }
}

fn router(ingress: Ingress) -> Router {
    Router::new()
        .route("/fhir/{member}/metadata", any(fhir::metadata))
        .route("/fhir/{member}/{*path}", any(fhir::fhir))
        .route("/data/{member}", any(catalogue::datasets))
        .route("/data/{member}/{dataset}", any(dataset))
        .route("/data/{member}/{dataset}/{*path}", any(dataset_part))
        .route("/catalogue", any(catalogue::catalogue))
        .route("/receipts/{exchange}", any(receipt::receipt))
        .fallback(nothing)
        .layer(from_fn_with_state(ingress.clone(), guard::guard))
        .with_state(ingress)
}

async fn dataset(
    state: State<Ingress>,
    method: Method,
    Path((member, dataset)): Path<(String, String)>,
    query: RawQuery,
    headers: HeaderMap,
) -> Response {
    data(state, method, [member, dataset, String::new()], query, headers).await
}

async fn dataset_part(
    state: State<Ingress>,
    method: Method,
    Path((member, dataset, path)): Path<(String, String, String)>,
    query: RawQuery,
    headers: HeaderMap,
) -> Response {
    data(state, method, [member, dataset, path], query, headers).await
}

async fn data(
    State(ingress): State<Ingress>,
    method: Method,
    [member, dataset, path]: [String; 3],
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let asked = (|| {
        request::reads(&method)?;
        let wanted = Wanted::of_dataset(&path, query.as_deref().unwrap_or_default())?;
        let source = dataset.parse::<SourceId>();
        let source = source.map_err(|_| Unfit::new(Refusal::UnknownSource, ""))?;
        let wanted_bytes = conditions::wanted(&method, &headers)?;
        let resumes = conditions::resumes(&headers)?;
        let ask = ingress.ask(&member, source, wanted, &headers)?;
        Ok::<_, Unfit>(Ask { wanted: wanted_bytes, resumes, ..ask })
    })();
    ingress.carry(asked, &method, Form::Dataset).await
}

async fn nothing(State(ingress): State<Ingress>, _: Uri) -> Response {
    let detail = "paths are /fhir/MEMBER/…, /data/MEMBER/DATASET, /data/MEMBER, /catalogue, /receipts/EXCHANGE";
    ingress.refuse(&Unfit::new(Refusal::UnknownSource, detail))
}

impl Ingress {
    fn scheme(&self) -> Scheme {
        let tls = match &self.1 {
            Door::Own(_) => self.0.settings.borrow().tls.is_some(),
            Door::Sidecar(beside) => beside.tls,
        };
        if tls { Scheme::Tls } else { Scheme::Plain }
    }

    /// How its application is known: as configured here, or as the sidecar says through which it came.
    fn settings(&self) -> IngressSettings {
        let settings = self.0.settings.borrow().clone();
        match &self.1 {
            Door::Own(_) => settings,
            Door::Sidecar(beside) => beside.settings(settings),
        }
    }

    /// What is asked, with all that an entry or an opening says of it.
    fn ask(
        &self,
        member: &str,
        source: SourceId,
        wanted: Wanted,
        headers: &HeaderMap,
    ) -> Result<Ask, Unfit> {
        // Before the headers: a token is used up by being looked at, and whoever wrote the path wrong is
        // to ask again with the same.
        let provider = self.member(member)?;
        self.known_source(&provider, &source)?;
        let token = |text: &str, purpose: &Purpose| self.user_of(text, purpose);
        let said = Said::read(headers, &self.settings(), token)?;
        Ok(Ask {
            provider,
            source,
            action: wanted.action,
            path: wanted.path,
            query: wanted.query,
            wanted: tally_core::dataset::Wanted::default(),
            purpose: said.purpose,
            agreement: said.agreement,
            user_known: said.user_known,
            user: said.user,
            role: said.role,
            relationship: said.relationship,
            reason: said.reason,
            resumes: None,
            request_ids: said.request_ids,
            base_url: self.base_url(headers),
            trace: request::trace(headers),
        })
    }

    /// Where the application sees this ingress.
    fn base_url(&self, headers: &HeaderMap) -> Option<BaseUrl> {
        let (settings, listening) = (self.settings(), self.1.listening());
        links::base_url(settings.base_url.as_ref(), listening, self.scheme(), headers)
    }

    /// Whose a token is. It has to be of this member, by a code that the member has today.
    fn user_of(&self, token: &str, purpose: &Purpose) -> Result<User, Refusal> {
        let tokens = self.0.tokens.as_ref().ok_or(Refusal::TokenKeysUnreadable)?;
        let known = self.0.replica.known();
        let own = known.registers.member(&self.0.member);
        let now = wall();
        let today = now.london_date();
        let codes: Vec<OdsCode> = own.into_iter().flat_map(|own| own.ods_codes(today)).collect();
        tokens.check(token, purpose, &codes, now)
    }

    fn member(&self, text: &str) -> Result<MemberId, Unfit> {
        let member = self.0.requester.member(text);
        member.map_err(|refusal| Unfit::new(refusal, ""))
    }

    /// A source of which no agreement on the ledger says that its provider has it is unknown here.
    /// Where the provider shares nothing with anybody yet, only the provider can say.
    fn known_source(&self, provider: &MemberId, source: &SourceId) -> Result<(), Unfit> {
        let known = self.0.replica.known();
        let documents = known.registers.iter().filter_map(|(_, state)| match &state.value {
            tally_core::ledger::RegisterValue::Agreement { record, .. } => {
                Some(record.document.value())
            }
            _ => None,
        });
        let shares = documents.flat_map(|document| &document.shares);
        let mut of_provider = shares.filter(|share| share.provider == *provider).peekable();
        let shares_nothing = of_provider.peek().is_none();
        if shares_nothing || of_provider.any(|share| share.source == *source) {
            return Ok(());
        }
        Err(Unfit::new(Refusal::UnknownSource, ""))
    }

    async fn carry(&self, ask: Result<Ask, Unfit>, method: &Method, form: Form) -> Response {
        let ask = match ask {
            Ok(ask) => ask,
            Err(unfit) => return self.refuse(&unfit),
        };
        let (provider, purpose) = (ask.provider.clone(), ask.purpose.clone());
        let head_only = *method == Method::HEAD;
        let place = match self.0.users.enter(ask.user_known, ask.user.as_deref()) {
            Ok(place) => place.map(Arc::new),
            Err(unfit) => return self.refuse(&unfit),
        };
        let asked = Asked { provider, purpose, head_only, form, place };
        let self_claimed = ask.relationship.as_deref().is_some_and(is_self_claimed);
        match self.0.requester.ask(ask).await {
            Ok(given) => {
                if self_claimed && matches!(given.head, Head::Permit { .. }) {
                    // The alert itself comes from the mirror.
                    self.0.outcomes.self_claimed();
                }
                answer(given, &asked).await
            }
            Err(refusal) => {
                // It was counted where it was turned away.
                refused_here(&Unfit::new(refusal, ""), Some((&asked.provider, &asked.purpose)))
            }
        }
    }

    /// Refuses what does not get past the ingress: a log line and a metric, no entry.
    fn refuse(&self, unfit: &Unfit) -> Response {
        tracing::info!(code = unfit.refusal.code(), "refused at the ingress");
        self.0.outcomes.turned_away(Side::Requester, unfit.refusal);
        refused_here(unfit, None)
    }
}

/// A status that HTTP knows.
fn status(refusal: Refusal) -> StatusCode {
    StatusCode::from_u16(refusal.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
