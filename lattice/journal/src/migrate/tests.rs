//! Migrations as transcripts: one that goes well, and a failure in each part.

use super::*;
use crate::fixtures::session;

fn owner(epoch: u64) -> ShardOwner {
    ShardOwner { session: session("B"), epoch: Epoch(epoch) }
}

fn progress(target: u64, source: u64) -> MigrationInput {
    MigrationInput::Progress { target: RecordSeq(target), source: RecordSeq(source) }
}

fn good() -> Vec<(u64, MigrationInput)> {
    vec![
        (0, MigrationInput::Start),
        (10, MigrationInput::Prepared),
        (20, progress(10, 100)),
        (30, progress(95, 103)),
        (40, MigrationInput::Drained { last: RecordSeq(105) }),
        (45, progress(105, 105)),
        (50, MigrationInput::Moved(owner(4))),
    ]
}

fn transcript(inputs: impl IntoIterator<Item = (u64, MigrationInput)>) -> (Vec<MigrationAction>, Migration) {
    let mut migration = Migration::new(MigrationPolicy::default(), Epoch(3));
    let actions = inputs.into_iter().flat_map(|(now, input)| migration.step(input, now)).collect();
    (actions, migration)
}

#[test]
fn a_migration_that_goes_well() {
    let (actions, migration) = transcript(good());
    assert_eq!(
        actions,
        [
            MigrationAction::Prepare,
            MigrationAction::Follow,
            MigrationAction::StopIntake,
            MigrationAction::HandOver { last: RecordSeq(105) },
            MigrationAction::Redirect(owner(4)),
        ]
    );
    assert!(migration.is_over());
}

#[test]
fn a_failure_in_any_part_ends_with_one_owner() {
    let failed = || MigrationInput::Failed("target died".to_owned());
    for step in 1..good().len() {
        for moved in [false, true] {
            let (mut actions, mut migration) = transcript(good().into_iter().take(step));
            let stopped = actions.contains(&MigrationAction::StopIntake);
            let handed = actions.iter().any(|action| matches!(action, MigrationAction::HandOver { .. }));
            actions = migration.step(failed(), 60);
            if handed {
                assert_eq!(actions, [MigrationAction::ReadKey], "step {step}");
                assert!(migration.step(MigrationInput::Tick, u64::MAX).is_empty(), "it never guesses");
                let key = if moved { owner(4) } else { owner(3) };
                actions = migration.step(MigrationInput::Key(Some((key, 1))), 70);
                if moved {
                    assert_eq!(actions, [MigrationAction::Redirect(owner(4))]);
                    continue;
                }
            }
            let mut expected = vec![MigrationAction::Aborted("target died".to_owned())];
            if stopped {
                expected.insert(0, MigrationAction::ResumeIntake);
            }
            assert_eq!(actions, expected, "step {step}");
            assert!(migration.is_over() && migration.step(failed(), 80).is_empty());
        }
    }
}

#[test]
fn a_part_that_takes_too_long_is_given_up() {
    let (_, mut migration) = transcript(good().into_iter().take(4));
    assert_eq!(migration.wake_ms(), 2_030);
    assert!(migration.step(MigrationInput::Tick, 2_029).is_empty());
    let actions = migration.step(MigrationInput::Tick, 2_030);
    assert_eq!(actions[0], MigrationAction::ResumeIntake);
    // The target that comes after all is no news for a migration that is over: the log fences.
    assert!(migration.step(MigrationInput::Moved(owner(4)), 2_031).is_empty());
}

#[test]
fn an_owner_of_no_higher_epoch_has_not_moved_anything() {
    let (_, mut migration) = transcript(good().into_iter().take(6));
    assert!(migration.step(MigrationInput::Moved(owner(3)), 50).is_empty());
    assert!(!migration.is_over());
}
