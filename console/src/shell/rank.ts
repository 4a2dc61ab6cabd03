/** How well what was typed fits: 0 not at all; a start of a word is better than a middle, both better than letters in order. */
export function rank(typed: string, text: string): number {
  const hay = text.toLowerCase();
  let score = 1;
  for (const word of typed.toLowerCase().split(/\s+/).filter(Boolean)) {
    const at = hay.indexOf(word);
    if (at === 0) score += 8;
    else if (at > 0 && /[\s/#:._-]/.test(hay[at - 1]!)) score += 6;
    else if (at > 0) score += 4;
    else if (inOrder(word, hay)) score += 1;
    else return 0;
  }
  return score;
}

function inOrder(word: string, hay: string): boolean {
  let i = 0;
  for (const c of hay) if (c === word[i]) i++;
  return i === word.length;
}
