//! The source of everything: the coordinator's commands and the opening and closing of epochs, on worker 0.

use super::epoch::Epoch;
use super::protocol::Command;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::operator::source;
use timely::dataflow::{Scope, Stream};
use timely::scheduling::SyncActivator;

/// From the coordinator to the plan source.
pub enum Plan {
    /// A command for one worker.
    To(usize, Command),
    /// A command for every worker.
    All(Command),
    /// Close every epoch below this one.
    Open(Epoch),
}

/// The coordinator's end of the plan source. Dropping it ends the dataflow.
pub struct Planner {
    commands: Option<Sender<Plan>>,
    wake: SyncActivator,
}

impl Planner {
    /// Sends one command or tick.
    pub fn send(&self, plan: Plan) {
        // both fail only when worker 0 is gone; the process is ending then
        if let Some(commands) = &self.commands {
            let _ = commands.send(plan);
        }
        let _ = self.wake.activate();
    }
}

impl Drop for Planner {
    fn drop(&mut self) {
        self.commands = None;
        let _ = self.wake.activate();
    }
}

/// The receiving end, to be handed to [`plan`] on worker 0.
pub struct Plans {
    receiver: Receiver<Plan>,
    ready: Box<dyn FnOnce(SyncActivator) + Send>,
}

impl Plans {
    /// A channel for commands; `ready` gets the coordinator's end once worker 0 has built its dataflow.
    pub fn new(ready: impl FnOnce(Planner) + Send + 'static) -> Plans {
        #[expect(
            clippy::disallowed_methods,
            reason = "the coordinator waits for reports before it sends more"
        )]
        let (sender, receiver) = std::sync::mpsc::channel();
        Plans {
            receiver,
            ready: Box::new(move |wake| {
                ready(Planner {
                    commands: Some(sender),
                    wake,
                })
            }),
        }
    }
}

/// The stream of commands, each delivered to the worker it is for. `plans` is given on worker 0 alone.
///
/// The stream's frontier is the earliest open epoch: readers close an epoch when the frontier has passed it.
pub fn plan<'s>(scope: Scope<'s, u64>, plans: Option<Plans>) -> Stream<'s, u64, Vec<Command>> {
    let peers = scope.peers();
    source(scope, "Plan", move |capability, info| {
        let mut state = plans.map(|plans| {
            (plans.ready)(scope.worker().sync_activator_for(info.address.to_vec()));
            (plans.receiver, capability)
        });
        move |output: &mut timely::dataflow::operators::generic::OutputBuilderSession<'_, u64, _>| {
            let Some((receiver, capability)) = state.as_mut() else {
                return;
            };
            loop {
                match receiver.try_recv() {
                    Ok(Plan::To(worker, command)) => output.session(capability).give((worker as u64, command)),
                    Ok(Plan::All(command)) => {
                        let mut session = output.session(capability);
                        for worker in 0..peers {
                            session.give((worker as u64, command.clone()));
                        }
                    }
                    Ok(Plan::Open(epoch)) => capability.downgrade(&epoch.0),
                    Err(TryRecvError::Empty) => return,
                    Err(TryRecvError::Disconnected) => break,
                }
            }
            state = None;
        }
    })
    .container::<Vec<(u64, Command)>>()
    .exchange_to_target()
}

/// Delivers `(worker, item)` to that worker.
trait ToTarget<'s> {
    fn exchange_to_target(self) -> Stream<'s, u64, Vec<Command>>;
}

impl<'s> ToTarget<'s> for Stream<'s, u64, Vec<(u64, Command)>> {
    fn exchange_to_target(self) -> Stream<'s, u64, Vec<Command>> {
        use timely::dataflow::operators::generic::Operator;
        self.unary(
            Exchange::new(|(worker, _): &(u64, Command)| *worker),
            "Deliver",
            |_, _| {
                move |input, output| {
                    input.for_each(|capability, commands| {
                        output
                            .session(&capability)
                            .give_iterator(commands.drain(..).map(|(_, command)| command));
                    });
                }
            },
        )
    }
}
