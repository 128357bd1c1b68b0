//! Applications that ask, and what they were told.

use std::sync::Arc;
use std::time::Instant;

use tally_tests::dev::{Answer, Arriving, Dev};
use tokio::task::JoinSet;

use super::world::{COUNCIL, FLOW_LEN, PLANNING, PROVIDER, TREAT, Thing, dataset, record};

/// Bytes of a stream that an application has read when it stops: more than an agent lets go by
/// before it notes how much.
const READ_LEN: usize = 3 * 1024 * 1024;

/// What an application was told, and when it had been told all of it.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) status: u16,
    /// Empty if the ingress made none of it.
    pub(super) exchange: String,
    /// Why not; empty if it was served.
    pub(super) code: String,
    /// Bytes of the body that it has.
    pub(super) len: u64,
    /// Whether the body ended as it must.
    pub(super) whole: bool,
    pub(super) at: Instant,
}

impl Told {
    pub(super) fn of(answer: &Answer) -> Self {
        Self {
            status: answer.status,
            exchange: answer.header("tally-exchange").to_owned(),
            code: answer.code(),
            len: answer.body.len().try_into().unwrap(),
            whole: answer.whole,
            at: Instant::now(),
        }
    }

    /// Whether it has all that it asked for.
    pub(super) const fn is_served(&self) -> bool {
        self.status == 200 && self.whole
    }
}

/// Asks once, for a record as a rule, now and then for a dataset or for somebody whom nobody knows.
/// None if there was no answer.
pub(super) async fn ask(dev: &Dev, place: usize) -> Option<Told> {
    let (path, headers) = match place % 8 {
        3 => (dataset("beds"), PLANNING),
        7 => (format!("/fhir/{PROVIDER}/Patient/pat-nobody-{place}"), TREAT),
        _ => (record(place), TREAT),
    };
    dev.get(COUNCIL, &path, headers).await.ok().map(|answer| Told::of(&answer))
}

/// Many ask at once, each of them so often and one thing after the other.
pub(super) fn ask_many(
    dev: &Arc<Dev>,
    asking: &mut JoinSet<Vec<Told>>,
    callers: usize,
    each: usize,
) {
    for caller in 0..callers {
        let dev = Arc::clone(dev);
        asking.spawn(async move {
            let mut told = Vec::new();
            for place in 0..each {
                told.extend(ask(&dev, caller + callers * place).await);
            }
            told
        });
    }
}

/// What all of them were told, once they have done.
pub(super) async fn all_told(asking: JoinSet<Vec<Told>>) -> Vec<Told> {
    asking.join_all().await.into_iter().flatten().collect()
}

/// The application has some of a long dataset, and reads no further.
pub(super) async fn begun_to_read(dev: &Dev) -> (usize, Arriving) {
    begun_to_read_of(dev, Thing::Stream).await
}

/// The same of anything that is as long.
pub(super) async fn begun_to_read_of(dev: &Dev, thing: Thing) -> (usize, Arriving) {
    let mut arriving = dev.open("GET", COUNCIL, &thing.path(), thing.headers()).await.unwrap();
    assert_eq!(arriving.status, 200);
    let mut len = 0;
    while len < READ_LEN {
        len += arriving.next().await.unwrap().map_or(FLOW_LEN, |piece| piece.len());
    }
    assert!(len < FLOW_LEN);
    (len, arriving)
}

/// It reads on. The answer counts all that it has.
pub(super) async fn rest(len: usize, arriving: Arriving) -> Told {
    let answer = arriving.all().await.unwrap();
    let told = Told::of(&answer);
    Told { len: told.len + u64::try_from(len).unwrap(), ..told }
}
