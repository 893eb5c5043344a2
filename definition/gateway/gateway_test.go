package gateway_test

import (
	"testing"

	"wasmxds/definition/internal/definitiontest"
	"wasmxds/definition/kinds"
)

var parser = kinds.Parser()

func TestBad(t *testing.T)     { definitiontest.Bad(t, parser) }
func TestGood(t *testing.T)    { definitiontest.Good(t, parser) }
func TestConvert(t *testing.T) { definitiontest.Converts(t, parser) }

// FuzzEnvoyExtensionPolicy starts from documents of that kind.
func FuzzEnvoyExtensionPolicy(f *testing.F) { definitiontest.Fuzz(f, parser, ".yaml", "*/*.yaml") }
