//! What a process can do wrong, and what the actor that called gets: BAD_INPUT 92 and 93.

use crate::support::{Fixture, SOON, Sized, within};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use lattice_io::BusMessage;
use lattice_protocol::invocation::encode_reply;
use lattice_protocol::provider::pack;
use lattice_protocol::{ErrorCode, Report};
use providers_sdk::testing::far;
use providers_sdk::{Provider, ProviderErrorKind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::watch;

macro_rules! on_both {
    ($($case:ident,)*) => {
        mod memory {
            $(#[tokio::test]
            async fn $case() {
                super::$case(&super::Fixture::memory()).await.unwrap();
            })*
        }
        mod nats {
            $(#[tokio::test]
            async fn $case() {
                super::$case(&super::Fixture::nats().await.unwrap()).await.unwrap();
            })*
        }
    };
}

on_both! {
    a_call_tells_the_process_all_that_an_in_process_provider_is_told,
    nobody_there_is_unsent_and_silence_is_a_timeout,
    late_and_double_answers_reach_nobody,
    an_answer_that_is_none_is_the_providers_failure,
    what_fits_no_message_is_refused_in_both_directions,
    a_process_that_ends_fails_the_calls_in_its_hands_at_once,
}

async fn a_call_tells_the_process_all_that_an_in_process_provider_is_told(fixture: &Fixture) -> Result<()> {
    let Provider::KeyValue(store) =
        far(Provider::KeyValue(Arc::new(Sized::default())), &fixture.bus, &fixture.scope).await
    else {
        anyhow::bail!("another capability came back")
    };
    let mut cx = within(SOON);
    cx.link = "backup".parse()?;
    cx.config = Arc::new([("prefix".to_owned(), "p".to_owned())].into());
    let told = store.open(&cx, "bucket").await.unwrap_err();
    assert_eq!(told.kind, ProviderErrorKind::Denied);
    assert_eq!(told.message, "shop/cart backup bucket Some(\"p\")");
    assert_eq!(store.get(&cx, "b", "7").await?, Some("vvvvvvv".into()));
    let refused = store.exists(&cx, "b", "k").await.unwrap_err();
    assert_eq!(refused.kind, ProviderErrorKind::Conflict, "the kind crosses: it decides about retries");
    Ok(())
}

async fn nobody_there_is_unsent_and_silence_is_a_timeout(fixture: &Fixture) -> Result<()> {
    let store = fixture.store(None);
    let nobody = store.get(&within(SOON), "b", "k").await.unwrap_err();
    ensure!(nobody.is_unsent() && nobody.message.contains("shop/store"), "{nobody:?}");
    let _silent = fixture.bus.subscribe(&fixture.subject(), None).await?;
    let began = Instant::now();
    let silence = store.get(&within(Duration::from_millis(200)), "b", "k").await.unwrap_err();
    ensure!(silence.kind == ProviderErrorKind::Timeout && !silence.is_unsent(), "{silence:?}");
    ensure!(began.elapsed() < SOON, "bounded by the caller's deadline");
    let over = store.get(&within(Duration::ZERO), "b", "k").await.unwrap_err();
    assert_eq!(over.kind, ProviderErrorKind::Timeout);
    Ok(())
}

fn value(text: &'static str) -> Vec<u8> {
    encode_reply(&Ok(pack(&[Some(Bytes::from_static(text.as_bytes()))]).into()))
}

async fn late_and_double_answers_reach_nobody(fixture: &Fixture) -> Result<()> {
    let mut calls = fixture.bus.subscribe(&fixture.subject(), None).await?;
    let store = fixture.store(None);
    let late = store.get(&within(Duration::from_millis(100)), "b", "k").await.unwrap_err();
    assert_eq!(late.kind, ProviderErrorKind::Timeout);
    let too_late = calls.next().await.context("the call")?;
    let cx = within(SOON);
    let answering = async {
        let now = calls.next().await.context("the second call")?;
        let answer = |message: &BusMessage, text| message.answer(value(text)).context("asks for an answer");
        fixture.bus.publish(answer(&too_late, "late")?).await?;
        for text in ["first", "second"] {
            fixture.bus.publish(answer(&now, text)?).await?;
        }
        let next = calls.next().await.context("the third call")?;
        fixture.bus.publish(answer(&next, "third")?).await?;
        anyhow::Ok(())
    };
    let asking = async {
        let first = store.get(&cx, "b", "k").await?;
        Ok::<_, anyhow::Error>((first, store.get(&cx, "b", "k").await?))
    };
    let (answered, asked) = tokio::join!(answering, asking);
    answered?;
    assert_eq!(asked?, (Some("first".into()), Some("third".into())), "each call its own first answer");
    Ok(())
}

async fn an_answer_that_is_none_is_the_providers_failure(fixture: &Fixture) -> Result<()> {
    let mut calls = fixture.bus.subscribe(&fixture.subject(), None).await?;
    let store = fixture.store(None);
    let cx = within(SOON);
    for nonsense in [
        Vec::new(),
        b"hello".to_vec(),
        vec![9, 9, 9],
        encode_reply(&Ok(Bytes::new())),
        encode_reply(&Ok(Bytes::from_static(b"\x01\xff\xff\xff\xff"))),
        encode_reply(&Ok(pack(&[None, None]).into())),
        vec![1, 1, b'{'],
    ] {
        let (error, answered) = tokio::join!(store.get(&cx, "b", "k"), async {
            let call = calls.next().await.context("the call")?;
            fixture.bus.publish(call.answer(nonsense.clone()).context("asks")?).await?;
            anyhow::Ok(())
        });
        answered?;
        let error = error.unwrap_err();
        ensure!(
            error.kind == ProviderErrorKind::Failed && error.message.contains("no valid answer"),
            "{nonsense:?}: {error:?}"
        );
    }
    let (error, _) = tokio::join!(store.exists(&cx, "b", "k"), async {
        let call = calls.next().await.context("the call")?;
        fixture.bus.publish(call.answer(value("a value, not a truth")).context("asks")?).await?;
        anyhow::Ok(())
    });
    assert_eq!(error.unwrap_err().kind, ProviderErrorKind::Failed);
    let (error, _) = tokio::join!(store.set(&cx, "b", "k", "v".into()), async {
        let call = calls.next().await.context("the call")?;
        let report = Report::new(ErrorCode::Trap, "words").limit("said");
        fixture.bus.publish(call.answer(encode_reply(&Err(report))).context("asks")?).await?;
        anyhow::Ok(())
    });
    let error = error.unwrap_err();
    ensure!(error.kind == ProviderErrorKind::Failed && error.message.contains("words"), "{error:?}");
    Ok(())
}

async fn what_fits_no_message_is_refused_in_both_directions(fixture: &Fixture) -> Result<()> {
    let sized = Arc::new(Sized::default());
    let Provider::KeyValue(store) =
        far(Provider::KeyValue(sized.clone()), &fixture.bus, &fixture.scope).await
    else {
        anyhow::bail!("another capability came back")
    };
    let (cx, over) = (within(SOON), fixture.bus.max_payload() + 1);
    let large = store.get(&cx, "b", &over.to_string()).await.unwrap_err();
    ensure!(large.kind == ProviderErrorKind::TooLarge && large.message.contains("limit"), "{large:?}");
    assert_eq!(Report::from(large).code, ErrorCode::TooLarge);
    let large = store.set(&cx, "b", "k", vec![0; over].into()).await.unwrap_err();
    assert_eq!(large.kind, ProviderErrorKind::TooLarge);
    let keys: Vec<String> = (0..20_000).map(|n| n.to_string()).collect();
    let many = store.get_many(&cx, "b", &keys).await.unwrap_err();
    assert_eq!(many.kind, ProviderErrorKind::TooLarge);
    assert_eq!(sized.writes.load(Ordering::SeqCst), 0, "refused before the wire");
    store.set(&cx, "b", "k", vec![0; 1 << 19].into()).await?;
    assert_eq!(store.get(&cx, "b", "500000").await?.map(|value| value.len()), Some(500_000));
    Ok(())
}

async fn a_process_that_ends_fails_the_calls_in_its_hands_at_once(fixture: &Fixture) -> Result<()> {
    let mut calls = fixture.bus.subscribe(&fixture.subject(), None).await?;
    let (ends, watched) = watch::channel(0);
    let store = fixture.store(Some(watched));
    let cx = within(SOON * 10);
    let began = Instant::now();
    let (error, _) = tokio::join!(store.get(&cx, "b", "k"), async {
        calls.next().await.context("the call")?;
        ends.send_modify(|count| *count += 1);
        anyhow::Ok(())
    });
    let error = error.unwrap_err();
    ensure!(error.kind == ProviderErrorKind::Failed && error.message.contains("ended"), "{error:?}");
    ensure!(began.elapsed() < SOON, "not at the deadline");
    let (answer, _) = tokio::join!(store.get(&cx, "b", "k"), async {
        let call = calls.next().await.context("the call")?;
        fixture.bus.publish(call.answer(value("back")).context("asks")?).await?;
        anyhow::Ok(())
    });
    assert_eq!(answer?, Some("back".into()), "an earlier end is no concern of a later call");
    Ok(())
}
