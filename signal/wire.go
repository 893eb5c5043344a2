package signal

import (
	"errors"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

var errWire = errors.New("not a valid protobuf message")

// field is a field of a message: bytes if its type has a length, number if it is a varint.
type field struct {
	num    protowire.Number
	typ    protowire.Type
	bytes  []byte
	number uint64
}

// is reports whether f is the field num of a type. A field with another type is unknown, as
// for any protobuf decoder.
func (f field) is(num protowire.Number, typ protowire.Type) bool { return f.num == num && f.typ == typ }

// each calls use with each field of a message. It does not check their contents.
func each(b []byte, use func(field) error) error {
	for len(b) > 0 {
		f, n := next(b)
		if n < 0 {
			return errWire
		}
		b = b[n:]
		if err := use(f); err != nil {
			return err
		}
	}
	return nil
}

// next decodes a field and returns its length, which is negative if there is none.
func next(b []byte) (f field, n int) {
	num, typ, tag := protowire.ConsumeTag(b)
	if tag < 0 {
		return f, tag
	}
	f = field{num: num, typ: typ}
	switch typ {
	case protowire.BytesType:
		f.bytes, n = protowire.ConsumeBytes(b[tag:])
	case protowire.VarintType:
		f.number, n = protowire.ConsumeVarint(b[tag:])
	default:
		n = protowire.ConsumeFieldValue(num, typ, b[tag:])
	}
	if n < 0 {
		return f, n
	}
	return f, tag + n
}

// identifier is the part of a StreamAccessLogsMessage.Identifier that is kept. Its node
// alone has about 60 KB.
type identifier struct {
	there         bool
	node, cluster string
	log           string
	long          bool // one of the texts is too long and was not kept
}

const maxText = 512 // limit of a text, in bytes

func (i *identifier) read(b []byte) error {
	i.there = true
	return each(b, func(f field) error {
		switch {
		case f.is(1, protowire.BytesType):
			return each(f.bytes, func(f field) error {
				switch {
				case f.is(1, protowire.BytesType):
					i.set(&i.node, f.bytes)
				case f.is(2, protowire.BytesType):
					i.set(&i.cluster, f.bytes)
				}
				return nil
			})
		case f.is(2, protowire.BytesType):
			i.set(&i.log, f.bytes)
		}
		return nil
	})
}

func (i *identifier) set(s *string, b []byte) {
	if len(b) > maxText {
		i.long = true
		return
	}
	*s = string(b)
}

// message is a StreamAccessLogsMessage whose entries are not decoded.
type message struct {
	identifier identifier
	entries    int    // number of HTTP entries
	rest       []byte // from the first of them
}

// read decodes the identifier of a message and counts its entries. Counting first makes
// messages with too many entries cheap.
func (m *message) read(b []byte) error {
	m.rest = b
	for len(b) > 0 {
		f, n := next(b)
		if n < 0 {
			return errWire
		}
		b = b[n:]
		switch {
		case f.is(1, protowire.BytesType):
			if err := m.identifier.read(f.bytes); err != nil {
				return err
			}
		case f.is(2, protowire.BytesType):
			if err := each(f.bytes, func(f field) error {
				if f.is(1, protowire.BytesType) {
					m.entries++
				}
				return nil
			}); err != nil {
				return err
			}
		case f.is(3, protowire.BytesType): // TCP entries: a message has one kind, and the last one applies
			m.entries, m.rest = 0, b
		}
	}
	return nil
}

// each calls use with each HTTP entry, until use returns false.
func (m *message) each(use func(*entry) bool) error {
	var e entry
	over := errors.New("enough")
	err := each(m.rest, func(f field) error {
		if !f.is(2, protowire.BytesType) {
			return nil
		}
		return each(f.bytes, func(f field) error {
			if !f.is(1, protowire.BytesType) {
				return nil
			}
			e = entry{}
			if err := e.read(f.bytes); err != nil {
				return err
			}
			if !use(&e) {
				return over
			}
			return nil
		})
	})
	if errors.Is(err, over) {
		return nil
	}
	return err
}

// entry is the decoded part of an HTTPAccessLogEntry. Its texts refer to the message.
type entry struct {
	code      uint32
	details   []byte
	asked     []byte // its request properties, not parsed
	owner     []byte // the filter that answered instead of the upstream
	took      duration
	lasted    duration
	underWay  bool // the request has not ended
	requested bool // it is of a request: an entry of an empty message is not
}

// downstreamEnd is the access_log_type of a request that has ended.
const downstreamEnd = 6

func (e *entry) read(b []byte) error {
	return each(b, func(f field) error {
		switch {
		case f.is(1, protowire.BytesType):
			e.requested = true
			return each(f.bytes, e.common)
		case f.is(3, protowire.BytesType):
			e.asked = f.bytes
		case f.is(4, protowire.BytesType):
			e.requested = true
			return each(f.bytes, e.response)
		}
		return nil
	})
}

// common decodes a field of AccessLogCommon.
func (e *entry) common(f field) error {
	switch {
	case f.is(12, protowire.BytesType): // time_to_last_downstream_tx_byte
		return e.took.read(f.bytes)
	case f.is(21, protowire.BytesType): // filter_state_objects
		return e.state(f.bytes)
	case f.is(23, protowire.BytesType): // duration
		return e.lasted.read(f.bytes)
	case f.is(33, protowire.VarintType): // access_log_type
		e.underWay = int32(f.number) != 0 && int32(f.number) != downstreamEnd
	}
	return nil
}

// state decodes an entry of filter_state_objects: a name and an Any.
func (e *entry) state(b []byte) error {
	var name, value []byte
	err := each(b, func(f field) error {
		switch {
		case f.is(1, protowire.BytesType):
			name = f.bytes
		case f.is(2, protowire.BytesType):
			return each(f.bytes, func(f field) error {
				if f.is(2, protowire.BytesType) {
					value = f.bytes
				}
				return nil
			})
		}
		return nil
	})
	if err != nil || string(name) != OwnerState {
		return err
	}
	e.owner = nil
	return each(value, func(f field) error { // a StringValue
		if f.is(1, protowire.BytesType) {
			e.owner = f.bytes
		}
		return nil
	})
}

// response decodes a field of HTTPResponseProperties.
func (e *entry) response(f field) error {
	switch {
	case f.is(1, protowire.BytesType): // response_code, a UInt32Value
		return each(f.bytes, func(f field) error {
			if f.is(1, protowire.VarintType) {
				e.code = uint32(f.number)
			}
			return nil
		})
	case f.is(6, protowire.BytesType): // response_code_details
		e.details = f.bytes
	}
	return nil
}

// duration is a google.protobuf.Duration.
type duration struct {
	there   bool
	seconds int64
	nanos   int32
}

func (d *duration) read(b []byte) error {
	d.there = true
	return each(b, func(f field) error {
		switch {
		case f.is(1, protowire.VarintType):
			d.seconds = int64(f.number)
		case f.is(2, protowire.VarintType):
			d.nanos = int32(f.number)
		}
		return nil
	})
}

// value returns the duration, limited to between zero and an hour.
func (d duration) value() time.Duration {
	seconds := min(max(d.seconds, 0), 3600)
	return min(max(time.Duration(seconds)*time.Second+time.Duration(d.nanos), 0), time.Hour)
}
