//! Reading objects of the lake: they are assigned to workers, and what the workers report is taken in.

use super::flow::ReplayError;
use super::lake_read::{LakeRead, log_place};
use super::run::Run;
use crate::error::EngineError;
use crate::protocol::{Assigned, Command, ObjectRead, ReaderReport};
use ingest::coverage::Counted;
use ingest::lake::{Object, Place};
use ingest::{Offset, Partition, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};

/// Objects assigned in one command.
const OBJECTS_A_COMMAND: usize = 1024;

impl Run {
    /// Reads the objects from number `from` on, as far as `wanted`; of those that names alone took for persisted and that
    /// are not, everything is staged afterwards.
    pub(super) async fn read_objects(
        &mut self,
        read: &mut LakeRead,
        from: usize,
        persisted: &BTreeMap<TopicPartition, Offset>,
        wanted: impl Fn(&Object) -> bool,
    ) -> Result<(), ReplayError> {
        let starts = read.starts();
        let of = |at: &TopicPartition| persisted.get(at).copied().unwrap_or(Offset::ZERO);
        let assign = |(object, id): (&Object, u32)| Assigned {
            id,
            object: object.clone(),
            persisted: !read.placed_anew.contains(&id)
                && log_place(object).is_some_and(|(at, start)| starts.is_persisted(at, start, of(&at))),
            holes: read.holes(id),
        };
        let objects = read.objects.iter().zip(1u32..).skip(from);
        let assigned: Vec<Assigned> = objects.filter(|(object, _)| wanted(object)).map(assign).collect();
        let by_names: BTreeSet<u32> = assigned.iter().filter(|one| one.persisted).map(|one| one.id).collect();
        let partly = assigned.iter().filter(|one| {
            let below = log_place(&one.object).is_some_and(|(at, start)| start < of(&at));
            !one.persisted && below
        });
        let partly: Vec<u32> = partly.map(|one| one.id).collect();
        read.restaged.extend(partly);
        self.read_assigned(read, assigned, true).await?;

        let misclassified = |object: &Counted| {
            let at = object.at();
            by_names.contains(&object.object) && starts.was_misclassified(object, of(&at))
        };
        let again: Vec<Assigned> = read
            .of_log()
            .filter(misclassified)
            .map(|object| Assigned {
                id: object.object,
                object: read.object(object.object).clone(),
                persisted: false,
                holes: read.holes(object.object),
            })
            .collect();
        if !again.is_empty() {
            tracing::info!(objects = again.len(), "objects overlap: they are read again as a whole");
            read.restaged.extend(again.iter().map(|one| one.id));
            self.read_assigned(read, again, false).await?;
        }
        match read.replaced_sparse() {
            Some(object) => Err(EngineError::ObjectReplaced {
                key: object.key.clone(),
            }
            .into()),
            None => Ok(()),
        }
    }

    /// Assigns objects and waits until all have been read; `shown` says whether that is history's progress.
    pub(super) async fn read_assigned(
        &mut self,
        read: &mut LakeRead,
        mut objects: Vec<Assigned>,
        shown: bool,
    ) -> Result<(), ReplayError> {
        let mut waiting: BTreeSet<u32> = objects.iter().map(|one| one.id).collect();
        let bytes: u64 = objects.iter().map(|one| one.object.size).sum();
        if shown {
            self.process.observer.history(objects.len() as u64, bytes);
        }
        // the largest first to the least loaded; then each in the order of offsets, so that the three records of
        // a post are read close to each other
        objects.sort_by(|one, other| other.object.size.cmp(&one.object.size).then(one.id.cmp(&other.id)));
        let mut shares: Vec<(u64, Vec<Assigned>)> = vec![(0, Vec::new()); self.flow.workers()];
        for one in objects {
            let share = shares
                .iter_mut()
                .min_by_key(|(bytes, _)| *bytes)
                .expect("at least one worker");
            share.0 += one.object.size.max(1);
            share.1.push(one);
        }
        for (worker, (_, mut share)) in shares.into_iter().enumerate() {
            share.sort_by_key(|one| match one.object.place {
                Place::Legacy => (Offset(-1), Partition(0), one.id),
                Place::Log { partition, start } => (start, partition, one.id),
            });
            for objects in share.chunks(OBJECTS_A_COMMAND) {
                self.flow.send_to(worker, Command::Read(objects.to_vec()));
            }
        }
        while !waiting.is_empty() {
            match self.flow.next_report().await? {
                ReaderReport::Object { pass, id, read: object } if pass == self.flow.pass() => {
                    waiting.remove(&id);
                    if shown {
                        let size = read.object(id).size;
                        self.process.observer.object(object.lines, size, object.rejected);
                    }
                    read.counted.insert(id, object);
                }
                ReaderReport::Damaged {
                    pass,
                    id,
                    lines,
                    end,
                    error,
                } if pass == self.flow.pass() => {
                    waiting.remove(&id);
                    self.skip_damaged(read, id, (lines, end), error)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn skip_damaged(
        &self,
        read: &mut LakeRead,
        id: u32,
        (lines, end): (u64, Option<Offset>),
        error: String,
    ) -> Result<(), EngineError> {
        if !self.options.log.skip_unreadable {
            return Err(EngineError::Damaged { error });
        }
        let object = read.object(id);
        tracing::warn!(object = object.key, error, "skipped a damaged object");
        // of an object without offsets nothing is kept, of one of the log what lies before the damage
        if log_place(object).is_some() {
            let object = ObjectRead {
                lines,
                ..ObjectRead::default()
            };
            read.counted.insert(id, object);
        }
        read.damaged.insert(id, end);
        Ok(())
    }
}
