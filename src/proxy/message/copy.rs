//! One body from a source to a sink.

use super::{Sink, Source, SourceError};

/// Which side broke.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    #[error("reading: {0}")]
    Source(#[from] SourceError),
    #[error("writing: {0}")]
    Sink(std::io::Error),
}

/// Copies the rest of a body and ends it; `moved` is told of every piece. What is there is sent before it waits for
/// more. The bytes that follow the body stay in the source's buffer.
pub(crate) async fn copy(
    source: &mut Source<'_>,
    sink: &mut Sink<'_>,
    mut moved: impl FnMut(&[u8]),
) -> Result<(), CopyError> {
    loop {
        if let Some(piece) = source.piece()? {
            moved(&piece);
            sink.write(piece).await.map_err(CopyError::Sink)?;
        } else if source.is_done() {
            let trailers = source.trailers().await?;
            return sink.end(trailers).await.map_err(CopyError::Sink);
        } else {
            sink.flush().await.map_err(CopyError::Sink)?;
            source.fill().await?;
        }
    }
}
