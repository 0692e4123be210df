package mask

import (
	"bytes"
	"encoding/base64"
	"math/rand"
	"strings"
	"testing"
)

func TestSecretsAreReplacedAndNothingElseIs(t *testing.T) {
	key := "-----BEGIN KEY-----\nMIIBOgIBAAJBAK\nx\n-----END KEY-----\n"
	for name, test := range map[string]struct {
		values     []string
		text, want string
	}{
		"in the middle":                      {[]string{"s3cret"}, "user s3cret here\n", "user *** here\n"},
		"at both ends":                       {[]string{"s3cret"}, "s3cret-s3cret", "***-***"},
		"nothing":                            {[]string{"s3cret"}, "s3cre s3 ecret\n", "s3cre s3 ecret\n"},
		"the beginning of one, then one":     {[]string{"s3cret"}, "s3s3cre s3s3cret", "s3s3cre s3***"},
		"in a word":                          {[]string{"abcd"}, "xabcdx", "x***x"},
		"one in another":                     {[]string{"bcde", "abcdefgh"}, "abcdefgh abcdefg", "*** a***fg"},
		"two that overlap, both wholly":      {[]string{"abcd", "cdef"}, "abcdef", "***"},
		"two that touch, as one":             {[]string{"abcd"}, "abcdabcd", "***"},
		"one that overlaps itself":           {[]string{"abab"}, "xabababy", "x***y"},
		"a longer one that does not come":    {[]string{"abcd", "abcdefgh"}, "abcdefgx", "***efgx"},
		"three in a longer one that fails":   {[]string{"aaaa", "cccc", "aaaabccccd"}, "aaaabccccx", "***b***x"},
		"too short":                          {[]string{"abc", "", " \n "}, "abc", "abc"},
		"blanks around it":                   {[]string{"  s3cret\n"}, "[s3cret]", "[***]"},
		"several lines":                      {[]string{key}, key, "***\n"},
		"one line of several":                {[]string{key}, "  MIIBOgIBAAJBAK\r\nx\n", "  ***\r\nx\n"},
		"lines with other ends":              {[]string{"first\r\nsecond"}, "first\nsecond", "***\n***"},
		"base64":                             {[]string{"s3cret!"}, base64.StdEncoding.EncodeToString([]byte("s3cret!")), "***"},
		"base64 with the newline of echo":    {[]string{"s3cret"}, base64.StdEncoding.EncodeToString([]byte("s3cret\n")), "***Cg=="},
		"base64 for a URL":                   {[]string{"?>?>?>"}, base64.URLEncoding.EncodeToString([]byte("?>?>?>")), "***"},
		"base64 of a value with newline":     {[]string{"s3cret\n"}, base64.StdEncoding.EncodeToString([]byte("s3cret\n")), "***"},
		"bytes that are no text":             {[]string{"\xff\xfe\x00\x01"}, "a\xff\xfe\x00\x01b", "a***b"},
		"the same value twice, other values": {[]string{"wxyz", "wxyz", "1234"}, "wxyz 1234", "*** ***"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := New(test.values).Text(test.text); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// What a client of HTTP sends for basic authentication, whatever the length of the user's name.
func TestTheValueIsFoundWithinALongerBase64(t *testing.T) {
	const secret = "correct horse battery"
	m := New([]string{secret})
	for _, user := range []string{"", "a", "ab", "abc"} {
		for _, after := range []string{"", "x", "xy", "xyz"} {
			text := base64.StdEncoding.EncodeToString([]byte(user + ":" + secret + after))
			got := m.Text(text)
			if rest := strings.Replace(got, Stars, "", 1); rest == got || len(rest) > len("YWJjOm")+len("Xh5eg==") {
				t.Errorf("%q, %q: %s became %s", user, after, text, got)
			}
		}
	}
}

// naive masks by definition: each byte of each occurrence.
func naive(found []string, text []byte) []byte {
	hidden := make([]bool, len(text))
	for _, pattern := range found {
		for i := range text {
			if bytes.HasPrefix(text[i:], []byte(pattern)) {
				for j := range pattern {
					hidden[i+j] = true
				}
			}
		}
	}
	var result []byte
	for i, b := range text {
		switch {
		case !hidden[i]:
			result = append(result, b)
		case i == 0 || !hidden[i-1]:
			result = append(result, Stars...)
		}
	}
	return result
}

func TestAnyCuttingOfAnyStreamGivesWhatTheDefinitionSays(t *testing.T) {
	seed := rand.Int63()
	random := rand.New(rand.NewSource(seed))
	// Few letters, so that beginnings, overlaps and repetitions come all the time.
	text := func(longest int, letters string) string {
		result := make([]byte, random.Intn(longest+1))
		for i := range result {
			result[i] = letters[random.Intn(len(letters))]
		}
		return string(result)
	}
	for range 3000 {
		letters := []string{"ab", "abc", "ab\n", "abcdefgh"}[random.Intn(4)]
		values := make([]string, 1+random.Intn(4))
		for i := range values {
			values[i] = text(12, letters)
		}
		stream := []byte(text(200, letters))
		m := New(values)
		if m == nil {
			continue
		}
		s, got, longest := m.Stream(), []byte(nil), 0
		for _, pattern := range patterns(values) {
			longest = max(longest, len(pattern))
		}
		for rest := stream; len(rest) > 0; {
			n := min(len(rest), random.Intn(7))
			got = s.Add(got, rest[:n])
			rest = rest[n:]
			if len(s.held) >= longest+1 {
				t.Fatalf("seed %d: %d bytes are held back, the longest pattern has %d", seed, len(s.held), longest)
			}
		}
		got = s.Rest(got)
		if want := naive(patterns(values), stream); !bytes.Equal(got, want) {
			t.Fatalf("seed %d: values %q, stream %q: got %q, want %q", seed, values, stream, got, want)
		}
	}
}

func TestOnlyTheBeginningOfASecretWaits(t *testing.T) {
	s := New([]string{"s3cret"}).Stream()
	for _, step := range []struct{ in, out string }{
		{"Name: ", "Name: "}, {"s", ""}, {"3", ""}, {"x? ", "s3x? "}, {"s3cre", ""}, {"t", "***"}, {"done s", "done "},
	} {
		// A whole secret that no longer one begins with does not wait for what follows.
		if got := string(s.Add(nil, []byte(step.in))); got != step.out {
			t.Errorf("after %q came %q, want %q", step.in, got, step.out)
		}
	}
	if got := string(s.Rest(nil)); got != "s" {
		t.Errorf("at the end came %q", got)
	}
}

func BenchmarkMask(b *testing.B) {
	line := "2026-11-27T05:00:00Z INFO  [worker-3] compiled example.org/web/internal/server in 0.31s, 14 packages left\n"
	text := bytes.Repeat([]byte(line), 1000)
	for name, values := range map[string][]string{
		"one":  {"hunter2hunter2"},
		"many": {"ghp_0123456789abcdef", "postgres://u:p@db/web", "compiler", "infrastructure", "2026-secret", "example", "0.31m"},
	} {
		b.Run(name, func(b *testing.B) {
			m := New(values)
			buffer := make([]byte, 0, len(text))
			b.SetBytes(int64(len(text)))
			for range b.N {
				s := m.Stream()
				buffer = buffer[:0]
				for rest := text; len(rest) > 0; {
					n := min(len(rest), 64<<10)
					buffer = s.Add(buffer, rest[:n])
					rest = rest[n:]
				}
			}
		})
	}
}
