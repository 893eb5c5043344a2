package resource

// Filter is the Wasm filter of that name, whichever nodes it is for; nil
// where there is none, or where it could not be compiled.
func (c *Catalog) Filter(name string) *Filter {
	if e := c.byKey[key{ExtensionType, name}]; e != nil {
		if f, ok := e.part.(*filter); ok {
			return f.Filter
		}
	}
	return nil
}
