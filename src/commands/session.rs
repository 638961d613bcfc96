//! What commands share that a user is waiting for: a runtime, interruptions, questions.

use std::convert::Infallible;
use std::io::BufRead;
use std::pin::pin;

use futures::future::{Either, select};

use super::CommandContext;
use crate::error::Error;
use crate::executor::Cancellation;

/// Returns the result of some work. The first interruption lets running clusters finish, the second stops them.
pub(super) async fn interruptible<T>(
    context: &CommandContext<'_>,
    cancellation: &Cancellation,
    work: impl Future<Output = T>,
) -> T {
    // In this order, signals are listened for before the work begins.
    match select(pin!(interruptions(context, cancellation)), pin!(work)).await {
        Either::Left((never, _)) => match never {},
        Either::Right((result, _)) => result,
    }
}

/// Listens for interruptions. It never ends by itself, but is dropped with the run.
async fn interruptions(context: &CommandContext<'_>, cancellation: &Cancellation) -> Infallible {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        context.printer.problem("warning: signals cannot be handled; an interruption stops at once\n");
        return std::future::pending().await;
    };
    let mut next = async || {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    next().await;
    context.printer.problem("interrupted: no new clusters start, running ones finish; once more to stop now\n");
    cancellation.no_new.cancel();
    next().await;
    context.printer.problem("interrupted again: stopping now\n");
    cancellation.stop.cancel();
    std::future::pending().await
}

/// Runs a command's asynchronous part on a runtime of its own.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime
        .map_err(|error| Error::new(crate::exit_code::ExitCode::Internal, "cannot start").because(error.to_string()))?;
    let result = runtime.block_on(work);
    // A thread may still be waiting for the answer to a question.
    runtime.shutdown_background();
    Ok(result)
}

/// Asks a question that `y` agrees to.
pub(super) async fn ask(context: &CommandContext<'_>, question: &str, cancellation: &Cancellation) -> bool {
    context.printer.problem(&format!("{question} [y/N] "));
    let answer = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).map(|_| line)
    });
    tokio::select! {
        answer = answer => match answer {
            Ok(Ok(line)) => matches!(line.trim(), "y" | "Y" | "yes" | "Yes"),
            // A failed read counts as no.
            Ok(Err(_)) | Err(_) => false,
        },
        () = cancellation.no_new.cancelled() => false,
    }
}

/// Asks a question, or says that nobody can be asked here.
pub(super) async fn ask_if_possible(context: &CommandContext<'_>, question: &str, cancellation: &Cancellation) -> bool {
    if context.environment.can_ask {
        return ask(context, question, cancellation).await;
    }
    context.printer.problem(&format!("{question} nobody can be asked here: pass `--yes` to go on\n"));
    false
}
