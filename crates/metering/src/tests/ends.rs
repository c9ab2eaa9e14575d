//! What ends without saying so itself: an account that is gone, a machine that vanished.

use super::*;

fn ended(to: Option<Instant>) -> Record {
    match subscription() {
        Record::Subscription(one) => Record::Subscription(Subscription { to, ..one }),
        other => other,
    }
}

fn versions(state: &ShardState) -> Vec<(i64, Option<i64>, i128)> {
    let of = |(key, window): (&WindowKey, &UsageWindow)| {
        let minutes = key.start.microseconds_since(at(0)) / (60 * SECOND);
        (minutes, key.version.map(|version| version.generation), window.quantity.0)
    };
    state.windows_of(tenant()).map(of).filter(|(_, _, quantity)| *quantity != 0).collect()
}

#[test]
fn a_subscription_that_ended_prices_nothing_after_its_end() {
    let mut records = opening();
    records.push(ended(Some(at(90 * 60 * SECOND))));
    records.extend([transition(1, 0, 1, false), Record::Tick { at: at(3 * HOUR_MICROSECONDS) }]);
    let (mut state, _) = fold(&records);
    let hour = i128::from(HOUR_MICROSECONDS);
    let expected =
        vec![(0, Some(1), hour), (60, Some(1), hour / 2), (90, None, hour / 2), (120, None, hour)];
    assert_eq!(versions(&state), expected, "known before the usage: cut at the end");
    let during = Interval::new(at(0), at(3 * HOUR_MICROSECONDS));
    let priced: Vec<i64> = state
        .versions_within(tenant(), during)
        .into_iter()
        .filter(|(_, version)| version.is_some())
        .map(|(within, _)| within.to.microseconds_since(within.from))
        .collect();
    assert_eq!(priced.iter().sum::<i64>(), 90 * 60 * SECOND, "what fees are due for");
}

#[test]
fn an_end_learnt_late_moves_the_hours_that_begin_after_it() {
    let mut records = opening();
    records.extend([transition(1, 0, 1, false), Record::Tick { at: at(3 * HOUR_MICROSECONDS) }]);
    records.push(ended(Some(at(90 * 60 * SECOND))));
    let (state, _) = fold(&records);
    let hour = i128::from(HOUR_MICROSECONDS);
    let expected = vec![(0, Some(1), hour), (60, Some(1), hour), (120, None, hour)];
    assert_eq!(versions(&state), expected);
    records.push(ended(None));
    let (state, _) = fold(&records);
    assert_eq!(
        versions(&state).iter().filter(|(_, one, _)| one.is_none()).count(),
        0,
        "taken back"
    );
}

#[test]
fn a_vanished_machine_holds_nothing_after_its_last_sign_of_life() {
    let mut records = opening();
    records.extend([transition(1, 0, 2, false), Record::Tick { at: at(100 * SECOND) }]);
    let gone = Record::Vanished { resource: vm(), at: at(40 * SECOND) };
    records.extend([gone.clone(), gone, Record::Tick { at: at(200 * SECOND) }]);
    records.push(transition(2, 150 * SECOND, 4, false));
    let (state, changes) = fold(&records);
    assert_eq!(
        total(&state, "vcpu"),
        2 * 40 * i128::from(SECOND),
        "what was counted since is taken back"
    );
    let ends: Vec<Option<Instant>> = changes.spans.values().map(|span| span.to).collect();
    assert_eq!(ends, [Some(at(40 * SECOND))]);
    let nobody = Record::Vanished { resource: ResourceUid(Uuid::from_u128(77)), at: at(0) };
    assert_eq!(fold(&[nobody]).0, shard(), "of one that nobody knows nothing is remembered");
}
