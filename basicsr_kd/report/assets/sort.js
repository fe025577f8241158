// A click on the title of a column sorts the table: the best first where the title says what is better.
for (const table of document.querySelectorAll('table.sortable')) {
  [...table.tHead.rows[0].cells].forEach((header, column) => {
    const button = document.createElement('button');
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener('click', () => sort(table, header, column));
  });
}

function sort(table, header, column) {
  const upwards = header.ariaSort ? header.ariaSort === 'descending' : !header.textContent.includes('↑');
  for (const other of table.tHead.rows[0].cells) other.ariaSort = null;
  header.ariaSort = upwards ? 'ascending' : 'descending';
  // What stays together: the rows of a method, or a row.
  const several = table.tBodies.length > 1;
  const parts = [...(several ? table.tBodies : table.tBodies[0].rows)];
  const cell = (part) => (several ? part.rows[0] : part).cells[column];
  const numeric = parts.some((part) => cell(part).dataset.value !== undefined);
  const key = (part) => (numeric ? Number(cell(part).dataset.value) : cell(part).textContent);
  const missing = (part) => (numeric ? cell(part).dataset.value === undefined : cell(part).textContent === '-');
  parts.sort((one, other) => {
    if (missing(one) || missing(other)) return missing(one) - missing(other); // last, whichever the order
    const [a, b] = [key(one), key(other)];
    const order = numeric ? (a === b ? 0 : a - b) : a.localeCompare(b, undefined, { numeric: true });
    return upwards ? order : -order;
  });
  (several ? table : table.tBodies[0]).append(...parts);
}
