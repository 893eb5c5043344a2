package definition_test

import (
	"testing"

	"wasmxds/definition/internal/definitiontest"
	"wasmxds/definition/kinds"
)

// parser reads all kinds. Those of a dialect have test files of their own,
// beside it.
var parser = kinds.Parser()

func TestBad(t *testing.T)     { definitiontest.Bad(t, parser) }
func TestGood(t *testing.T)    { definitiontest.Good(t, parser) }
func TestConvert(t *testing.T) { definitiontest.Converts(t, parser) }

// FuzzParse checks that, whatever a file contains, Parse ends and returns
// either a file or a reason, and that the result can be merged.
func FuzzParse(f *testing.F) { definitiontest.Fuzz(f, parser, ".yaml", "*/*.yaml") }

// FuzzParseJSON does the same for JSON.
func FuzzParseJSON(f *testing.F) { definitiontest.Fuzz(f, parser, ".json", "*/*.json") }
