//! Streams of calls.

use std::sync::Arc;

use bytes::Bytes;

use super::{Node, Output, StreamAct, StreamEvent, outcome};
use crate::call::CallRequest;
use crate::id::{ServeId, Token};
use crate::stream::{Ending, Flow, StreamCall, StreamId};

impl Node {
    pub(super) fn refuse_streams(&mut self, token: Token, request: &CallRequest) {
        let callback = request.callbacks.first().map(ToString::to_string).unwrap_or_default();
        let error = outcome::internal("streams are not carried yet", &callback);
        let flows = request.flows();
        self.end_writers(StreamCall::Made(token), &flows, &Ending::Cancelled(Some(Box::new(error.clone()))));
        self.outputs.push_back(Output::CallDone { token, result: Err(error) });
    }

    pub(super) fn replied(&mut self, id: ServeId, result: Bytes, channels: Arc<[Flow]>) {
        let error = outcome::internal("streams are not carried yet", "");
        self.end_writers(StreamCall::Served(id), &channels, &Ending::Cancelled(Some(Box::new(error))));
        if channels.is_empty() {
            self.served(id, Ok(result));
        }
    }

    fn end_writers(&mut self, call: StreamCall, flows: &[Flow], ending: &Ending) {
        for (number, _) in (0..).zip(flows) {
            let event = StreamEvent::Written(ending.clone());
            self.outputs.push_back(Output::Stream { id: StreamId { call, number }, event });
        }
    }

    #[expect(clippy::unused_self, reason = "nothing has a stream yet")]
    pub(super) fn stream_act(&mut self, _: StreamId, _: StreamAct) {}
}
