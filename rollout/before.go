package rollout

import (
	"encoding/json"
	"maps"
	"strings"
)

// BeforeWaves returns the written state as it was before the waves that were to begin once
// it is written. It is for a copy that may be ahead of what other replicas can read: a wave
// begins when they can read it, and not because a process is restarted.
func BeforeWaves(written map[string][]byte) map[string][]byte {
	before := maps.Clone(written)
	for key, value := range written {
		var k keptChange
		if !strings.HasPrefix(key, openKeys) || json.Unmarshal(value, &k) != nil || k.Before == nil {
			continue // what can't be decoded is reported when it is used
		}
		k.Wave, k.Reached, k.Waves, k.Before = k.Before.Wave, k.Before.Reached, k.Before.Waves, nil
		if b, err := json.Marshal(k); err == nil { // it consists of plain values
			before[key] = b
		}
	}
	return before
}
