package mask

import (
	"encoding/base64"
	"strings"
)

// patterns are the texts to look for: of each value what is between the blanks around it, each of its lines in the same
// way, and its base64, alone or as a part of something longer. What is shorter than shortest is left out.
func patterns(values []string) []string {
	known := map[string]bool{}
	var result []string
	add := func(text string) {
		text = strings.TrimSpace(text)
		if len(text) >= shortest && !known[text] {
			known[text] = true
			result = append(result, text)
		}
	}
	for _, value := range values {
		trimmed := strings.TrimSpace(value)
		if len(trimmed) < shortest {
			continue
		}
		add(trimmed)
		if strings.ContainsRune(trimmed, '\n') {
			for _, line := range strings.Split(trimmed, "\n") {
				add(line)
			}
		}
		for _, whole := range []string{trimmed, value} {
			add(base64.StdEncoding.EncodeToString([]byte(whole)))
			for before := range 3 {
				add(encoded(base64.StdEncoding, before, whole))
				add(encoded(base64.URLEncoding, before, whole))
			}
		}
	}
	return result
}

// encoded is the part of an encoding that depends on the value alone, if so many bytes (modulo 3) come before it and
// anything after it, as in "user:password".
func encoded(encoding *base64.Encoding, before int, value string) string {
	const bitsPerByte, bitsPerCharacter = 8, 6
	whole := encoding.WithPadding(base64.NoPadding).EncodeToString([]byte("\x00\x00"[:before] + value))
	first := (before*bitsPerByte + bitsPerCharacter - 1) / bitsPerCharacter
	end := (before + len(value)) * bitsPerByte / bitsPerCharacter
	return whole[first:end]
}
