package steplog

import (
	"bytes"
	"strings"
	"testing"

	"runabout.dev/toolbox/internal/mask"
	"runabout.dev/toolbox/internal/steplog/steplogtest"
)

func TestSecretsAreInNoPartOfTheLogAndOffsetsAreOfWhatIsLeft(t *testing.T) {
	var out bytes.Buffer
	log := New(&out, nonce, "r", "t", 1)
	log.Hide(mask.New([]string{"s3cret-value"}))
	log.Write([]byte("setup s3cret"))
	log.End("success", 0, 1)
	log.Begin(0, "a", 2)
	log.Write([]byte("-value s3"))
	log.Write([]byte("cret-va"))
	log.Write([]byte("lue s3cret"))
	log.Notice("cannot find s3cret-value")
	log.Write([]byte("end s3cret-"))
	size := log.End("success", 0, 3)
	log.Begin(1, "b", 4)
	log.Write([]byte("value\n" + strings.Repeat("s3cret-value\r\n", 40_000)))
	log.End("success", 0, 5)
	log.Done(0, "Completed")

	if strings.Contains(out.String(), "s3cret-value") {
		t.Error("the log has the secret")
	}
	got, err := steplogtest.Read(out.Bytes()) // which compares every offset
	if err != nil {
		t.Fatal(err)
	}
	// What is the beginning of a secret at a step's end was none, whatever the next step says.
	for stream, want := range map[string]string{
		"setup": "setup s3cret",
		"0":     "-value *** s3cret\n[runabout: cannot find ***]\nend s3cret-",
		"1":     "value\n" + strings.Repeat("***\r\n", 40_000),
	} {
		if string(got.Output[stream]) != want {
			t.Errorf("%s is %.200q", stream, got.Output[stream])
		}
	}
	if want := int64(len(got.Output["0"])); size != want {
		t.Errorf("the step has %d bytes, %d were returned", want, size)
	}
}
