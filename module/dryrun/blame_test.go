package dryrun

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestBlameAfterRestart(t *testing.T) {
	dir := t.TempDir()
	for strikes := range 3 {
		b, err := newBlame(dir, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		verdict := b.verdict("key")
		if blamed := strikes == 2; (verdict != nil) != blamed {
			t.Errorf("killed %d times meanwhile: %v", strikes, verdict)
		}
		b.strike("key", inputs{Name: "hello"}, b.strikes("key")+1) // and the program is killed
	}
	b, err := newBlame(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	b.strike("key", inputs{}, 0)
	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		t.Errorf("%v, %v", files, err)
	}
}

func TestBlameIsBounded(t *testing.T) {
	dir := t.TempDir()
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range maxMarks + 20 {
		content, err := json.Marshal(mark{Since: begin.Add(time.Duration(i) * time.Second), Reason: "dry run: x"})
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, fmt.Sprintf("%04d.json", i)), content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range map[string]string{"half.json": `{"strikes": 1`, "other": "x"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b, err := newBlame(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	_ = b.convict("new", inputs{}, "dry run: y")
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != maxMarks || len(b.marks) != maxMarks {
		t.Errorf("%d files, %d marks, %v", len(files), len(b.marks), err)
	}
	if b.verdict("0020") != nil || b.verdict("0021") == nil || b.verdict("new") == nil {
		t.Error("not the oldest ones were dropped")
	}
}
