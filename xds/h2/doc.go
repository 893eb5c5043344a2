// Package h2 serves bidirectional gRPC streams on long-lived connections that are mostly
// idle: ten thousand of them cost little memory.
//
// Start with [New]. The package follows RFC 9113 (HTTP/2), RFC 7541 (HPACK) and gRPC over
// HTTP/2 (PROTOCOL-HTTP2.md of grpc/grpc). This is its contract; each rule names the tests
// that check it.
//
// # Calls
//
// A connection has one goroutine, its reader. It calls the [Handler] of a request and
// [Receiver.Receive], one message at a time and in order, and these must not block
// (TestEcho, TestManyStreamsAndMessages).
//
// The methods of a [Stream] may be called at any time and from any goroutine, also by the
// receiver during a call. [Stream.Send] does not block: what the client does not accept yet
// is held by reference (TestSlowReader, TestSendWindows). After the end of the stream it
// returns [ErrEnded] (TestEcho).
//
// # Guarantees to receivers
//
// [Receiver.Ended] is called exactly once, whoever ends the stream: the client, the
// receiver, this package because of a violation, or the connection (TestEnds,
// TestStopEndsStreams, FuzzConn). The context has ended by then.
//
// Receive is called only with whole messages, and must not keep the slice.
//
// # Limits
//
//   - 16 streams per connection, and 16 KiB of headers per request (TestErrors).
//   - 4 MiB of incomplete messages, over all streams of a connection
//     (TestUnfinishedMessages); [Options].Wait learns of each byte, and may end the
//     stream.
//   - 32 KiB up to the first request, which must arrive within 20 seconds
//     (TestSlowToBegin).
//   - No buffer while there is nothing to read, and a window of 64 KiB
//     (TestReceiveWindows).
//   - 256 KiB of answers to a client that sends requests and does not read. Frames that
//     cost the client nothing are charged to a budget (TestFloods, TestPingsArePaidFor).
//   - A client that is silent for 30 seconds is sent a PING and has 20 more seconds
//     (TestPing); a connection without streams has 5 minutes (TestIdle).
//
// Messages given to Send are not limited here, because the caller knows what the client has
// answered.
//
// # Violations
//
// Violations by the client are answered as the RFCs say, section by section (TestRFC):
// invalid frames, and headers that can't be decoded, end the connection, with a GOAWAY; an
// error of one stream ends that stream. SETTINGS and PINGs are answered before there is a
// request (TestSettingsAreAcknowledged). The header table has size 0 once the client has
// agreed to that (TestHeaderTable). Whatever bytes arrive, the package sends valid frames,
// and the connection ends (FuzzConn).
//
// # Shutdown
//
// [Server.GracefulStop] makes clients connect elsewhere, loses no stream in flight and
// waits for open streams (TestGracefulStop, TestDrain). [Server.Stop] closes all
// connections (TestStopEndsStreams). No goroutine outlives them (TestMain).
//
// # What grpc-go serves
//
// A connection whose first request is for none of [Options].Methods is handed over in its
// original state (TestOther, TestHandedIsAnsweredOnce). Messages are not compressed. The
// deadline of a stream is up to the client, which resets the stream.
package h2
