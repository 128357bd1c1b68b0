//! Places for connections: so many at once, and who says nothing gives way to who comes.
//!
//! Invariant: a caller that opens connections and asks nothing on them keeps nobody out. A connection
//! whose request is being answered never gives way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// How long somebody who comes waits for the place of who gives way.
const GIVE_WAY_WAIT_MAX: Duration = Duration::from_millis(100);

/// Gives places. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    board: Arc<Mutex<Board>>,
}

/// Connections on which no request is being answered, the longest silent first.
#[derive(Debug, Default)]
struct Board {
    turn: u64,
    silent: BTreeMap<u64, Weak<Seat>>,
}

/// A connection's place. Free again once this is dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Seat>);

/// A request is being answered for as long as this lives.
#[derive(Debug)]
pub(super) struct Busy(Arc<Seat>);

#[derive(Debug)]
struct Seat {
    board: Arc<Mutex<Board>>,
    standing: Mutex<Standing>,
    leave: Notify,
    _held: OwnedSemaphorePermit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Nothing is being answered, since this turn.
    Silent(u64),
    /// It was told to give way.
    Leaving,
    Busy,
}

impl Places {
    pub(super) fn new(places_max: usize) -> Self {
        let places_max = places_max.min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(places_max)), board: Arc::default() }
    }

    /// A place, and whether somebody was told to give way for it; none if all are taken and at each a
    /// request is being answered.
    pub(super) async fn enter(&self) -> Option<(Place, bool)> {
        if let Ok(held) = Arc::clone(&self.free).try_acquire_owned() {
            return Some((self.place(held), false));
        }
        if !give_way(&self.board) {
            return None;
        }
        let held = timeout(GIVE_WAY_WAIT_MAX, Arc::clone(&self.free).acquire_owned()).await;
        held.ok().and_then(Result::ok).map(|held| (self.place(held), true))
    }

    fn place(&self, held: OwnedSemaphorePermit) -> Place {
        let seat = Arc::new(Seat {
            board: Arc::clone(&self.board),
            standing: Mutex::new(Standing::Busy),
            leave: Notify::new(),
            _held: held,
        });
        silent_from_now(&seat);
        Place(seat)
    }
}

impl Place {
    /// A request has come. Whoever was about to give way stays, for it has asked in time.
    pub(super) fn answering(&self) -> Busy {
        let mut board = lock(&self.0.board);
        let mut standing = lock(&self.0.standing);
        if let Standing::Silent(turn) = *standing {
            board.silent.remove(&turn);
        }
        *standing = Standing::Busy;
        drop((standing, board));
        Busy(Arc::clone(&self.0))
    }

    /// Waits until it has to give way.
    pub(super) async fn gives_way(&self) {
        loop {
            self.0.leave.notified().await;
            if *lock(&self.0.standing) == Standing::Leaving {
                return;
            }
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        silent_from_now(&self.0);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Standing::Silent(turn) = *lock(&self.standing) {
            lock(&self.board).silent.remove(&turn);
        }
    }
}

fn silent_from_now(seat: &Arc<Seat>) {
    let mut board = lock(&seat.board);
    board.turn = board.turn.wrapping_add(1);
    let turn = board.turn;
    board.silent.insert(turn, Arc::downgrade(seat));
    *lock(&seat.standing) = Standing::Silent(turn);
}

/// Tells whoever has been silent longest to give way. False if nobody is silent.
fn give_way(board: &Mutex<Board>) -> bool {
    loop {
        let mut held = lock(board);
        let Some((_, seat)) = held.silent.pop_first() else { return false };
        let seat = seat.upgrade();
        if let Some(seat) = &seat {
            *lock(&seat.standing) = Standing::Leaving;
        }
        // Before the seat, whose end looks at the board.
        drop(held);
        if let Some(seat) = seat {
            seat.leave.notify_one();
            return true;
        }
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn told(place: &Place) -> bool {
        timeout(Duration::from_millis(20), place.gives_way()).await.is_ok()
    }

    #[tokio::test]
    async fn the_longest_silent_gives_way_and_who_is_answered_stays() {
        let places = Places::new(3);
        let (first, gave_way) = places.enter().await.unwrap();
        assert!(!gave_way);
        let (second, third) = (places.enter().await.unwrap().0, places.enter().await.unwrap().0);
        let busy = first.answering();
        let comes = tokio::spawn({
            let places = places.clone();
            async move { places.enter().await }
        });
        second.gives_way().await;
        assert!(!told(&first).await && !told(&third).await);
        drop(second);
        let (fourth, gave_way) = comes.await.unwrap().unwrap();
        assert!(gave_way);
        // Who has been answered was silent for less long than the third.
        drop(busy);
        assert!(places.enter().await.is_none(), "nobody left its place");
        assert!(told(&third).await && !told(&first).await && !told(&fourth).await);
    }

    #[tokio::test]
    async fn where_everybody_is_answered_nobody_comes_in() {
        let places = Places::new(1);
        let (only, _) = places.enter().await.unwrap();
        let busy = only.answering();
        assert!(places.enter().await.is_none());
        drop((busy, only));
        assert!(places.enter().await.is_some());
        assert!(lock(&places.board).silent.is_empty());
    }

    #[tokio::test]
    async fn who_asks_while_it_is_told_to_give_way_is_answered() {
        let places = Places::new(1);
        let (only, _) = places.enter().await.unwrap();
        assert!(give_way(&places.board));
        let busy = only.answering();
        assert!(!told(&only).await);
        drop(busy);
        assert!(give_way(&places.board));
        assert!(told(&only).await);
    }
}
