"""A study of what each training method buys, on the front desk: recipes x budgets x seeds, with prices.

plan       recipes, budgets, prices and seeds -> cells
teach      a cell -> a policy trained by the project's own methods, and how good it is
results    the finished cells on disk
runner     all cells, one after the other, resumed where they were left
fits       success over budget -> a saturating curve
curves     cells -> curves, their fits, where one overtakes another
rules      three hypotheses, decided
summary    all that a study says, as values and as JSON
chart      the picture
page       the files: curves.json, curves.svg, curves.html; page.html.j2 is its template
"""
