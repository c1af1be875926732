//! Which life of the lattice this is, as its operator has signed it: read at the start, followed while a
//! controller runs, and begun anew after a restore from a backup.

use crate::records::{Author, Records};
use bytes::Bytes;
use keys::{KeyPair, PublicKey, Signed};
use lattice_io::{Kv, KvEntry, KvEvent, KvOptions, TaskScope, WatchKeys};
use lattice_protocol::incarnation::{FIRST, INCARNATION_KEY, INCARNATION_KIND, Incarnation};
use lattice_protocol::{ErrorCode, HostSpec, LatticeName, Report};
use serde_json::json;
use std::sync::Arc;
use tokio::sync::watch;

/// Reads a statement; only one that a controller's key has signed counts.
fn read(entry: &KvEntry, lattice: &LatticeName, signer: PublicKey) -> Result<u64, Report> {
    let signed: Signed = serde_json::from_slice(&entry.value)
        .map_err(|error| Report::new(ErrorCode::Damaged, format!("incarnation not readable: {error}")))?;
    let opened = keys::open(INCARNATION_KIND, &signed, &[signer].into())
        .map_err(|error| Report::new(ErrorCode::Untrusted, error.to_string()))?;
    Ok(Incarnation::read(&opened.payload, lattice)?.incarnation)
}

/// The life of the lattice, from now on; it only ever grows.
///
/// # Errors
/// What KV says. A statement that does not hold is said and left out.
pub(crate) async fn follow(
    records: &Records,
    signer: PublicKey,
    scope: &TaskScope,
) -> Result<watch::Receiver<u64>, Report> {
    let kv = records.lattice.kv.open(&records.subjects.lattice_bucket(), KvOptions::default()).await?;
    let lattice = records.name.clone();
    let take = move |entry: &KvEntry, now: &watch::Sender<u64>| match read(entry, &lattice, signer) {
        Ok(stated) => drop(now.send_if_modified(|now| {
            let grows = stated > *now;
            *now = stated.max(*now);
            grows
        })),
        Err(report) => tracing::error!(error = %report, "statement of an incarnation left out"),
    };
    let (sender, receiver) = watch::channel(FIRST);
    if let Some(entry) = kv.get_latest(INCARNATION_KEY).await? {
        take(&entry, &sender);
    }
    scope.spawn_until_cancelled("incarnation", async move {
        let mut watch = kv.watch(WatchKeys::One(INCARNATION_KEY.to_owned()));
        while let Some(event) = watch.next().await {
            if let KvEvent::Put(entry) = event {
                take(&entry, &sender);
            }
        }
    });
    Ok(receiver)
}

/// Begins the next life of the lattice, above every one that records, hosts and `recorded` (what the
/// operator's own directory knows) tell of: from then on hosts obey what the restored records say.
///
/// # Errors
/// `E_CONFLICT` when somebody else does the same at this moment; what KV and the bus say.
pub async fn recover(
    records: &Records,
    signer: &KeyPair,
    author: &Author,
    (recorded, reason): (u64, &str),
) -> Result<Incarnation, Report> {
    let kv = records.lattice.kv.open(&records.subjects.lattice_bucket(), KvOptions::default()).await?;
    let entry = kv.get_latest(INCARNATION_KEY).await?;
    let stated = match &entry {
        Some(entry) => read(entry, &records.name, signer.public())?,
        None => FIRST,
    };
    let mut highest = recorded.max(stated).max(FIRST);
    for spec in specs(records).await? {
        highest = highest.max(spec.generation.incarnation);
    }
    for seen in records.hosts().await?.values() {
        highest = highest.max(seen.heartbeat.generation.incarnation);
    }
    let next = Incarnation {
        lattice: records.name.clone(),
        incarnation: highest.saturating_add(1),
        at_unix_ms: author.now_unix_ms,
        by: author.by.clone(),
        reason: reason.to_owned(),
    };
    let internal = |error: &dyn std::fmt::Display| Report::new(ErrorCode::Internal, error.to_string());
    let payload = serde_json::to_vec(&next).map_err(|error| internal(&error))?;
    let signed = keys::sign_document(INCARNATION_KIND, payload, signer).map_err(|error| internal(&error))?;
    let value: Bytes = serde_json::to_vec(&signed).map_err(|error| internal(&error))?.into();
    write(&kv, entry.map(|entry| entry.revision), value).await?;
    let data = json!({ "incarnation": next.incarnation, "reason": reason });
    records.audit(author, "admin.lattice-recover", records.name.as_str(), data).await?;
    Ok(next)
}

async fn write(kv: &Arc<dyn Kv>, expected: Option<u64>, value: Bytes) -> Result<(), Report> {
    match expected {
        Some(revision) => kv.update(INCARNATION_KEY, value, revision).await?,
        None => kv.create(INCARNATION_KEY, value).await?,
    };
    Ok(())
}

async fn specs(records: &Records) -> Result<Vec<HostSpec>, Report> {
    let signed: std::collections::BTreeMap<String, Signed> =
        records.all(&records.subjects.spec_bucket()).await?;
    // Only for a number that must not be too low: whoever signed them.
    Ok(signed.values().filter_map(|signed| serde_json::from_slice(&signed.payload).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use keys::KeyKind;
    use lattice_io::memory::Memory;

    fn author() -> Author {
        Author {
            by: "ann".to_owned(),
            origin: "admin".to_owned(),
            event_id: "e1".to_owned(),
            now_unix_ms: 5,
            details: json!({}),
        }
    }

    #[tokio::test]
    async fn each_recovery_is_one_life_further_than_all_that_is_known() {
        let records = Records::new(Memory::new().lattice(), "lab".parse().unwrap());
        let signer = KeyPair::from_entropy(KeyKind::Account, [1; 32]);
        let scope = TaskScope::new("test");
        let mut life = follow(&records, signer.public(), &scope).await.unwrap();
        assert_eq!(*life.borrow(), FIRST);
        assert_eq!(recover(&records, &signer, &author(), (0, "disk")).await.unwrap().incarnation, 2);
        life.wait_for(|life| *life == 2).await.unwrap();
        // The directory knows of a later life than the restored records do.
        assert_eq!(recover(&records, &signer, &author(), (7, "disk")).await.unwrap().incarnation, 8);
        life.wait_for(|life| *life == 8).await.unwrap();
        // Whoever starts now begins there; a statement of another key counts for nobody.
        assert_eq!(*follow(&records, signer.public(), &scope).await.unwrap().borrow(), 8);
        let other = KeyPair::from_entropy(KeyKind::Account, [2; 32]);
        assert_eq!(*follow(&records, other.public(), &scope).await.unwrap().borrow(), FIRST);
        let refused = recover(&records, &other, &author(), (0, "mine")).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::Untrusted);
    }
}
