// Package config reads the configuration of a plugin. Start with [Read].
package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm"
)

// Read decodes the plugin's configuration of size bytes into settings, a
// pointer to what holds the defaults already. It may be called only within
// OnPluginStart. No configuration at all leaves the defaults; a field that
// settings doesn't have is an error.
func Read(size int, settings any) error {
	if size == 0 {
		return nil
	}
	data, err := proxywasm.GetPluginConfiguration()
	if err != nil {
		return fmt.Errorf("getting the configuration: %w", err)
	}
	return Decode(data, settings)
}

// Decode is Read for a configuration that is at hand.
func Decode(data []byte, settings any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(settings); err != nil && err != io.EOF { // EOF: nothing but space
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("more than one JSON value")
	}
	return nil
}
