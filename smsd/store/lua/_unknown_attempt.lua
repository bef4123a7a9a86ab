-- _unknown_attempt: the mark of an attempt at a time that nobody knows (0): recovery finds it in doubt.
-- include: fields
local function unknown_attempt(fields)
  local spent = string.match(field_of(fields, 'attempts') or '', '^%d+$') or '0'
  return string.format('%d 0 unknown', #spent <= 9 and tonumber(spent) + 1 or 1)
end
