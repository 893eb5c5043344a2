package rollout

import (
	"encoding/json"
	"maps"
	"strings"
)

// BeforeWaves is what is written down as it was before the waves that were to begin
// when that is done. It is for a copy that may be ahead of what others can read: a
// wave begins when these can read of it, and not because a server is started anew.
func BeforeWaves(written map[string][]byte) map[string][]byte {
	before := maps.Clone(written)
	for key, value := range written {
		var k keptChange
		if !strings.HasPrefix(key, openKeys) || json.Unmarshal(value, &k) != nil || k.Before == nil {
			continue // what can't be read is told when it is used
		}
		k.Wave, k.Reached, k.Waves, k.Before = k.Before.Wave, k.Before.Reached, k.Before.Waves, nil
		if b, err := json.Marshal(k); err == nil { // it is of plain values
			before[key] = b
		}
	}
	return before
}
