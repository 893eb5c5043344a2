// Package h2 serves bidirectional gRPC streams on connections that live long
// and mostly have nothing to say: ten thousand of them cost little memory.
//
// Start with [New]. It follows RFC 9113 (HTTP/2), RFC 7541 (HPACK) and gRPC over
// HTTP/2 (PROTOCOL-HTTP2.md of grpc/grpc). This is its contract; each rule names
// the tests that hold it.
//
// # Who calls what
//
// A connection has one goroutine, its reader. It calls the [Handler] of a
// request and [Receiver.Receive], one message at a time and in order, and these
// must not wait (TestEcho, TestManyStreamsAndMessages).
//
// The methods of a [Stream] may be called by anyone at any time, also by the
// receiver in a call. [Stream.Send] does not wait: what the client does not take
// yet is held by reference (TestSlowReader, TestSendWindows). After the end it
// gives [ErrEnded] (TestEcho).
//
// # What a stream promises its receiver
//
// [Receiver.Ended] comes exactly once, whoever ended the stream: the client, the
// receiver, this package by what it refuses, or the connection (TestEnds,
// TestStopEndsStreams, FuzzConn). The context has ended by then.
//
// A message is whole or is not given. It is the receiver's only during the call.
//
// # What is held, and what bounds it
//
//   - 16 streams a connection, and 16 KiB of headers a request (TestErrors).
//   - 4 MiB of messages that are not whole, over all streams of a connection
//     (TestUnfinishedMessages); [Options].Wait is told of each byte, and may end
//     the stream.
//   - 32 KiB up to the first request, which has 20 seconds (TestSlowToBegin).
//   - No buffer while there is nothing to read, and a window of 64 KiB
//     (TestReceiveWindows).
//   - 256 KiB of answers to a client that asks and does not read. Frames that
//     cost the client nothing are paid for from a budget (TestFloods,
//     TestPingsArePaidFor).
//   - A client that is silent for 30 seconds is sent a PING and has 20 more
//     (TestPing); a connection without streams has 5 minutes (TestIdle).
//
// Not bounded here is what is given to Send: who sends knows what the client has
// answered.
//
// # What a client may do
//
// What it may not is answered by section of the RFCs (TestRFC): wrong frames and
// headers that can't be decoded end the connection, with a GOAWAY; what is wrong
// with one stream ends that one. Its SETTINGS and PINGs are answered before there
// is a request (TestSettingsAreAcknowledged). The table of headers is of size 0
// once the client has agreed to that (TestHeaderTable). Whatever bytes come, what
// is sent are frames, and it ends (FuzzConn).
//
// # How it ends
//
// [Server.GracefulStop] tells clients to go elsewhere, loses no stream that is on
// its way and waits for those that are open (TestGracefulStop, TestDrain).
// [Server.Stop] closes all connections (TestStopEndsStreams). No goroutine
// outlives them (TestMain).
//
// # What is left to grpc-go
//
// A connection whose first request is for none of [Options].Methods is handed
// over, as if nobody had touched it (TestOther, TestHandedIsAnsweredOnce).
// Messages are not compressed, and the deadline of a stream is the client's, who
// resets it.
package h2
