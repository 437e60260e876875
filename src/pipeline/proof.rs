//! Objects of one window are proven when they are all visible, and their partitions listed once more.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};

use super::Context;
use super::handed::Written;
use crate::catalog;
use crate::error::{Error, Result, SetAside};
use crate::files::ClusterFiles;
use crate::ledger::Holdings;
use crate::partition::ObjectKey;
use crate::prove;

/// Objects proven at a time.
const CONCURRENT_PROOFS: usize = 8;

/// Proves what was written of one partition, of which the plan knew `known`. Gives what is wrong; the proofs are kept for pruning.
pub async fn prove_partition(context: &Arc<Context>, files: &ClusterFiles, known: &Holdings, written: Vec<Written>) -> Result<Vec<SetAside>> {
    let mut wrong = Vec::new();
    let mut claims = Vec::new();
    let claim = |Written { claim, .. }| {
        let context = Arc::clone(context);
        async move {
            let proof = prove::uploaded(&context.archive, &context.hashers, &claim, context.verify).await?;
            Ok::<_, Error>((claim, proof))
        }
    };
    let mut proofs = futures::stream::iter(written).map(claim).buffered(CONCURRENT_PROOFS);
    while let Some((claim, proof)) = proofs.try_next().await? {
        if context.is_stopped() {
            return Err(Error::Interrupted);
        }
        if let Err(reason) = &proof {
            wrong.push(failed(context, &claim.object.key, reason));
        }
        context.keep_proof(claim.object.key.clone(), proof);
        claims.push(claim);
    }
    let Some(partition) = claims.first().map(|claim| claim.object.key.partition.clone()) else { return Ok(wrong) };
    let ours: BTreeSet<&ObjectKey> = claims.iter().map(|claim| &claim.object.key).chain(known.keys()).collect();
    let unreadable: BTreeSet<&str> = known.unreadable.iter().map(|object| object.name.as_str()).collect();
    let is_known = |listed: &object_store::ObjectMeta| {
        let known = ObjectKey::parse(&listed.location).is_some_and(|key| ours.contains(&key));
        known || unreadable.contains(context.archive.name_of(&listed.location).as_str())
    };
    let appeared = match catalog::holdings_but(&context.archive, &partition, is_known).await {
        Ok(appeared) => appeared,
        Err(e) => {
            for claim in &claims {
                let reason = format!("whether another object holds its sources too is not known: {e}");
                wrong.push(failed(context, &claim.object.key, &reason));
                context.keep_proof(claim.object.key.clone(), Err(reason));
            }
            return Ok(wrong);
        }
    };
    for object in &appeared.unreadable {
        wrong.push(SetAside::new(&object.name, format!("it appeared during this run, and {object}; sources that it may hold are kept")));
    }
    for (path, other) in claims.iter().flat_map(|claim| prove::stand_twice(claim, &appeared)) {
        let (source, name) = (files.path.join(path), context.archive.name_of(&other.key));
        let reason = format!("kept: its rows of {} stand in two objects: {name} appeared during this run, and neither knew of the other", partition.date);
        tracing::error!(source = path, object = name, "archived twice");
        wrong.push(SetAside::new(source, reason));
    }
    Ok(wrong)
}

fn failed(context: &Context, key: &ObjectKey, reason: &str) -> SetAside {
    let name = context.archive.name_of(key);
    tracing::error!(object = name, "its proof failed: {reason}");
    SetAside::new(
        name,
        format!(
            "its proof failed: {reason}; its sources are kept. Look at it with verify --read-data; if it is damaged, remove it while all of its sources are still on disk, and run again"
        ),
    )
}
