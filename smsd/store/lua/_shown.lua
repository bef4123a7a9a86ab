-- _shown: what a look-up shows of a message that is not yet parsed.
-- include: fields

-- Octets of the longest value that smsd/core/fields.py accepts for a field that is shown: a label's 128 characters of 4
-- each. An entry may hold anything: what is longer is no such value, and a status does not keep it.
local LONGEST_SHOWN = 512

-- The fields of its entry that have these names, but for those that are too long.
local function shown_of(fields, names)
  local shown = {}
  for _, name in ipairs(names) do
    local value = field_of(fields, name)
    if value and #value <= LONGEST_SHOWN then append_all(shown, {name, value}) end
  end
  return shown
end
