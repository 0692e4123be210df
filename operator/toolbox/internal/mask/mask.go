// Package mask replaces secret values in a stream of output by three asterisks.
//
// What always holds: a byte that belongs to an occurrence of a pattern, wherever the stream was cut into pieces, is never
// given out; any cutting gives the same bytes; only bytes that are the beginning of a pattern are held back, so at most
// as many as the longest pattern has.
package mask

import "encoding/binary"

const (
	// shortest is the length of the shortest pattern, in bytes: anything shorter would hide too much of any output.
	shortest = 4
	// pair is how many bytes are looked at together where nothing is held back.
	pair    = 2
	maxSkip = shortest - pair + 1
)

// Stars is what stands for one or more secrets that touch each other.
const Stars = "***"

// Mask knows the patterns. It does not change, and any number of streams may use it.
type Mask struct {
	nodes []node
	// root has the root's children, by their byte; 0 where there is none.
	root [256]int32
	// skip says for two bytes, seen as the last two of four, how many bytes cannot begin a pattern.
	skip []uint8
}

// node is a state of an Aho-Corasick automaton; number 0 is the root, and as a link none.
type node struct {
	child, sibling int32
	fail           int32 // the longest end of this state's text that some pattern begins with
	depth          int32
	match          int32 // length of the longest pattern that this state's text ends with, 0 for none
	label          byte
}

// New is a mask for values; nil if there is nothing to mask in them.
func New(values []string) *Mask {
	found := patterns(values)
	if len(found) == 0 {
		return nil
	}
	m := &Mask{nodes: make([]node, 1), skip: make([]uint8, 1<<16)}
	for i := range m.skip {
		m.skip[i] = maxSkip
	}
	for _, pattern := range found {
		m.insert(pattern)
		for i := range maxSkip {
			block := binary.LittleEndian.Uint16([]byte(pattern[i:]))
			m.skip[block] = min(m.skip[block], uint8(maxSkip-1-i))
		}
	}
	m.link()
	return m
}

func (m *Mask) insert(pattern string) {
	state := int32(0)
	for i := range len(pattern) {
		next := m.child(state, pattern[i])
		if next == 0 {
			next = int32(len(m.nodes))
			m.nodes = append(m.nodes, node{label: pattern[i], depth: m.nodes[state].depth + 1})
			if state == 0 {
				m.root[pattern[i]] = next
			} else {
				m.nodes[next].sibling, m.nodes[state].child = m.nodes[state].child, next
			}
		}
		state = next
	}
	m.nodes[state].match = m.nodes[state].depth
}

// link goes through the states by their depth, so that what a link leads to is linked already.
func (m *Mask) link() {
	var queue []int32
	for _, state := range m.root {
		if state != 0 {
			queue = append(queue, state)
		}
	}
	for len(queue) > 0 {
		state := queue[0]
		queue = queue[1:]
		for child := m.nodes[state].child; child != 0; child = m.nodes[child].sibling {
			target := m.next(m.nodes[state].fail, m.nodes[child].label)
			m.nodes[child].fail = target
			m.nodes[child].match = max(m.nodes[child].match, m.nodes[target].match)
			queue = append(queue, child)
		}
	}
}

func (m *Mask) child(state int32, b byte) int32 {
	if state == 0 {
		return m.root[b]
	}
	child := m.nodes[state].child
	for child != 0 && m.nodes[child].label != b {
		child = m.nodes[child].sibling
	}
	return child
}

func (m *Mask) next(state int32, b byte) int32 {
	for {
		if child := m.child(state, b); child != 0 || state == 0 {
			return child
		}
		state = m.nodes[state].fail
	}
}

// plain is how many bytes at p's beginning begin no pattern, as far as p itself shows it.
func (m *Mask) plain(p []byte) int {
	i := 0
	for i+shortest <= len(p) {
		step := m.skip[uint16(p[i+maxSkip-1])|uint16(p[i+maxSkip])<<8]
		if step == 0 {
			return i
		}
		i += int(step)
	}
	return i
}

// Text is a whole text, masked. A nil mask leaves it as it is.
func (m *Mask) Text(text string) string {
	if m == nil {
		return text
	}
	s := m.Stream()
	return string(s.Rest(s.Add(nil, []byte(text))))
}

// Stream masks one stream of output. It is not safe for concurrent use.
type Stream struct {
	mask   *Mask
	state  int32
	held   []byte // the end of the text of state, without what has been given out masked
	hidden []span // what of held is to be masked, in order, with gaps between
	inside bool   // the last byte given out was a masked one
}

// span is a part of what is held: from, and up to but not including.
type span struct{ from, to int }

// Stream begins a stream.
func (m *Mask) Stream() *Stream { return &Stream{mask: m} }

// Add appends to dst what p makes certain, and returns it.
func (s *Stream) Add(dst, p []byte) []byte {
	for len(p) > 0 {
		if s.state == 0 {
			if n := s.mask.plain(p); n > 0 {
				dst, p, s.inside = append(dst, p[:n]...), p[n:], false
				continue
			}
		}
		s.state = s.mask.next(s.state, p[0])
		s.held = append(s.held, p[0])
		p = p[1:]
		reached := s.mask.nodes[s.state]
		if reached.match > 0 {
			s.hide(max(0, len(s.held)-int(reached.match)))
			if s.hidden[0].from == 0 { // whatever follows, this will stay masked
				dst = s.release(dst, s.hidden[0].to)
			}
		}
		if n := len(s.held) - int(reached.depth); n > 0 {
			dst = s.release(dst, n)
		}
	}
	return dst
}

// Rest appends what is held back, at the end of the stream, and returns it. Another stream may follow.
func (s *Stream) Rest(dst []byte) []byte {
	dst = s.release(dst, len(s.held))
	s.state, s.inside = 0, false
	return dst
}

// hide masks what is held, from there to its end.
func (s *Stream) hide(from int) {
	for len(s.hidden) > 0 && s.hidden[len(s.hidden)-1].to >= from {
		from = min(from, s.hidden[len(s.hidden)-1].from)
		s.hidden = s.hidden[:len(s.hidden)-1]
	}
	s.hidden = append(s.hidden, span{from, len(s.held)})
}

// release gives out the first n of the bytes that are held.
func (s *Stream) release(dst []byte, n int) []byte {
	at := 0
	for at < n && len(s.hidden) > 0 && s.hidden[0].from < n {
		first := s.hidden[0]
		if first.from > at {
			dst, s.inside = append(dst, s.held[at:first.from]...), false
		}
		if !s.inside {
			dst, s.inside = append(dst, Stars...), true
		}
		at = min(first.to, n)
		if first.to > n {
			break
		}
		s.hidden = s.hidden[1:]
	}
	if at < n {
		dst, s.inside = append(dst, s.held[at:n]...), false
	}
	s.held = s.held[:copy(s.held, s.held[n:])]
	for i := range s.hidden {
		s.hidden[i] = span{max(0, s.hidden[i].from-n), s.hidden[i].to - n}
	}
	return dst
}
