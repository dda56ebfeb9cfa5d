//! Simulations: tenants that always have something to do, and some that seldom do, in virtual time.

use super::*;

const MS: Duration = Duration::from_millis(1);

/// What goes by at a time: less than any turn takes.
const STEP: Duration = Duration::from_micros(100);

/// Guests that run for a tick at a time, on as many threads as there are places.
struct World {
    turns: Turns<usize>,
    guests: Vec<Guest>,
    now: Duration,
}

struct Guest {
    tenant: TenantId,
    ticket: Option<Ticket>,
    /// The place that it has, and until when.
    runs: Option<(Place, Duration)>,
    /// How long each turn takes.
    turn: Duration,
    used: Duration,
}

impl World {
    fn new(places: usize) -> Self {
        Self { turns: Turns::new(places), guests: Vec::new(), now: Duration::ZERO }
    }

    fn tenant(&mut self, portion: Portion) -> TenantId {
        self.turns.add(portion)
    }

    /// A guest that is always ready, in turns of a tick.
    fn busy(&mut self, tenant: TenantId) -> usize {
        self.guests.push(Guest { tenant, ticket: None, runs: None, turn: 5 * MS, used: Duration::ZERO });
        self.ask(self.guests.len() - 1);
        self.guests.len() - 1
    }

    fn ask(&mut self, number: usize) {
        let guest = &mut self.guests[number];
        match self.turns.ask(guest.tenant, guest.ticket.take(), || number, self.now) {
            Asked::Go(place) => guest.runs = Some((place, self.now + guest.turn)),
            Asked::Wait(ticket) => guest.ticket = Some(ticket),
        }
    }

    /// Wakes all who have their turn, but for this one, who looks for himself.
    fn wake(&mut self, but: Option<usize>) {
        while let Some(number) = self.turns.next(self.now) {
            if Some(number) != but {
                self.ask(number);
                assert!(self.guests[number].runs.is_some(), "who is woken has his turn");
            }
        }
    }

    /// Lets a step of time go by.
    fn step(&mut self, but: Option<usize>) {
        self.now += STEP;
        for number in 0..self.guests.len() {
            let guest = &mut self.guests[number];
            if let Some((place, until)) = guest.runs
                && until <= self.now
            {
                (guest.runs, guest.used) = (None, guest.used + guest.turn);
                let (tenant, turn) = (guest.tenant, guest.turn);
                self.guests[number].ticket = Some(self.turns.done_for_now(tenant, place, turn, number, self.now));
                self.wake(but);
            }
        }
        self.wake(but);
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step(None);
        }
    }

    fn used(&self, tenant: TenantId) -> Duration {
        self.guests.iter().filter(|guest| guest.tenant == tenant).map(|guest| guest.used).sum()
    }

    /// A short call of a tenant that does nothing else: how long it waits for its turn.
    fn call(&mut self, tenant: TenantId) -> Duration {
        let began = self.now;
        let number = usize::MAX;
        let place = match self.turns.ask(tenant, None, || number, self.now) {
            Asked::Go(place) => place,
            Asked::Wait(ticket) => loop {
                self.step(Some(number));
                match self.turns.ask(tenant, Some(ticket), || number, self.now) {
                    Asked::Go(place) => break place,
                    Asked::Wait(same) => assert_eq!(same, ticket),
                }
            },
        };
        self.turns.done(tenant, place, MS / 20, self.now);
        self.now - began
    }
}

fn weight(weight: u32) -> Portion {
    Portion { weight, ..Portion::default() }
}

#[test]
fn busy_tenants_share_by_weight_however_many_guests_each_has() {
    for few in [2, 4] {
        let mut world = World::new(2);
        let (light, heavy) = (world.tenant(weight(100)), world.tenant(weight(300)));
        for _ in 0..64 {
            world.busy(light);
        }
        for _ in 0..few {
            world.busy(heavy);
        }
        world.run_for(Duration::from_secs(4));
        let (light, heavy) = (world.used(light).as_secs_f64(), world.used(heavy).as_secs_f64());
        assert!((2.9..3.1).contains(&(heavy / light)), "{few}: {heavy} / {light}");
        assert!(light + heavy > 7.9, "no place was free while somebody waited: {}", light + heavy);
    }
}

#[test]
fn the_guests_of_a_tenant_take_turns() {
    let mut world = World::new(1);
    let tenant = world.tenant(Portion::default());
    let guests: Vec<usize> = (0..5).map(|_| world.busy(tenant)).collect();
    world.run_for(Duration::from_secs(1));
    for guest in guests {
        let used = world.guests[guest].used;
        assert!(used >= 195 * MS && used <= 205 * MS, "{used:?} of {:?}", world.used(tenant));
    }
}

#[test]
fn who_uses_little_waits_for_nobody_as_long_as_the_reserve_is_free() {
    let mut world = World::new(2);
    let quiet = world.tenant(Portion::default());
    for _ in 0..16 {
        let noisy = world.tenant(Portion::default());
        for _ in 0..8 {
            world.busy(noisy);
        }
    }
    // All have begun, and none is far behind the others.
    world.run_for(Duration::from_secs(2));
    for _ in 0..100 {
        assert_eq!(world.call(quiet), Duration::ZERO);
        world.run_for(7 * MS);
    }
}

#[test]
fn a_rest_is_no_account_to_draw_on() {
    let mut world = World::new(1);
    let (early, late) = (world.tenant(Portion::default()), world.tenant(Portion::default()));
    world.busy(early);
    world.run_for(Duration::from_secs(10));
    let before = world.used(early);
    world.busy(late);
    world.run_for(Duration::from_secs(1));
    let (early, late) = (world.used(early) - before, world.used(late));
    // One place, and the reserve for who is behind.
    assert!(late >= 490 * MS && late <= 540 * MS, "{late:?}");
    assert!(early >= 490 * MS && early <= 510 * MS, "{early:?}");
}

#[test]
fn an_allowance_holds_where_nobody_else_wants_the_time() {
    let mut world = World::new(2);
    let tenant = world.tenant(Portion { cpu_millis: Some(250), ..Portion::default() });
    for _ in 0..3 {
        world.busy(tenant);
    }
    world.run_for(Duration::from_secs(4));
    let used = world.used(tenant);
    assert!(used >= 990 * MS && used <= 1050 * MS, "{used:?}");
    assert!(world.turns.next_time().is_some());
}

#[test]
fn who_leaves_frees_his_place_and_those_behind_him_move_up() {
    let mut turns: Turns<u32> = Turns::new(1);
    let tenant = turns.add(Portion::default());
    let now = Duration::ZERO;
    assert_eq!(turns.ask(tenant, None, || 0, now), Asked::Go(Place::Usual));
    let tickets: Vec<Ticket> = (1..=3)
        .map(|number| match turns.ask(tenant, None, || number, now) {
            Asked::Wait(ticket) => ticket,
            Asked::Go(_) => panic!("there is no place"),
        })
        .collect();
    turns.leave(tenant, tickets[0], now);
    assert_eq!(turns.next(now), None);
    turns.done(tenant, Place::Usual, MS, now);
    // The first has left. The second is given the place, and leaves before he begins.
    assert_eq!(turns.next(now), Some(2));
    assert_eq!(turns.next(now), None);
    turns.leave(tenant, tickets[1], now);
    assert_eq!(turns.next(now), Some(3));
    assert_eq!(turns.ask(tenant, Some(tickets[2]), || 3, now), Asked::Go(Place::Usual));
    turns.done(tenant, Place::Usual, MS, now);
    assert_eq!((turns.next(now), turns.waiting.len(), turns.granted.len()), (None, 0, 0));
    assert_eq!(turns.ask(tenant, None, || 4, now), Asked::Go(Place::Usual));
}
