-- _shown: what a look-up shows of a message that is not yet parsed.
-- include: fields

-- The fields of its entry that have these names, where they are short enough to be true.
local LONGEST_SHOWN = 512
local function shown_of(fields, names)
  local shown = {}
  for _, name in ipairs(names) do
    local value = field_of(fields, name)
    if value and #value <= LONGEST_SHOWN then append_all(shown, {name, value}) end
  end
  return shown
end
