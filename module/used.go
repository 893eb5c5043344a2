package module

// maxUsed is how many modules stay in the store because Envoys say that they may fetch
// them again.
const maxUsed = 256

// nameUsed adds modules that stay for that alone. What is not in the store takes no place
// of those.
func (l *resolution) nameUsed(names map[string]bool) {
	used := l.Used()
	if len(used) == 0 {
		return
	}
	here, left := l.Store.names(), maxUsed
	for _, sum := range used {
		if left > 0 && here[sum] && !names[sum] {
			names[sum] = true
			left--
		}
	}
}
