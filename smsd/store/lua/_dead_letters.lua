-- _dead_letters: what came is kept, with why it died.
-- include: add, fields

-- Into the dead letters, with `ours` in place of what the message brought under these names. Returns the letter's id.
local function add_dead_letter(fields, ours)
  local names = {}
  for i = 1, #ours, 2 do names[#names + 1] = ours[i] end
  return add(DEAD, append_all(without(fields, names), ours))
end
