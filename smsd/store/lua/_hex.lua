-- _hex: hexadecimal digits as the octets for which they stand.
local function octets_of(digits)
  if #digits == 32 then -- as most
    local sub, number = string.sub, tonumber
    return struct.pack('>I4I4I4I4', number(sub(digits, 1, 8), 16), number(sub(digits, 9, 16), 16),
      number(sub(digits, 17, 24), 16), number(sub(digits, 25), 16))
  end
  return (string.gsub(digits, '..', function(digit) return string.char(tonumber(digit, 16)) end))
end
