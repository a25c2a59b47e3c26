# Every table and figure of the papers; made by `python -m vaebench.tables --make > tables.mk`.
TABLES := all
all: ## every table and figure below, with TIER=full|reduced|smoke SEEDS=0,1,2 JOBS=1
TABLES += fae fae-table1 fae-fig1 fae-fig2 fae-fig3
fae: ## Zheng, Yao, Zhang, Tsang & Wang, AAAI 2019, arXiv 1807.03723
fae-table1: ## Table 1: test NLL on MNIST
fae-fig1: ## Figure 1: models in the Fisher-Shannon plane, and a FAE's way there
fae-fig2: ## Figure 2: codes and their distances, F from 20 down to 0
fae-fig3: ## Figure 3: reconstructions with a large and a small F, MNIST and SVHN
TABLES += propagation propagation-fig1
propagation: ## Rudolph, Fadel, Mair & Brefeld, extended abstract
propagation-fig1: ## Figure 1: KL and mutual information behind each layer of the decoder
TABLES += scvae scvae-table1 scvae-table2 scvae-fig1 scvae-fig2 scvae-fig3 scvae-fig4 scvae-fig5
scvae: ## Zheng, Yao, Zhang & Tsang, 2018, arXiv 1802.06677
scvae-table1: ## Table 1: test NLL and accuracy of a linear SVM on MNIST
scvae-table2: ## Table 2: SCVAE with PixelVAE and VampPrior
scvae-fig1: ## Figure 1: codes and reconstructions of shallow and deep VAEs
scvae-fig2: ## Figure 2: mean Fisher information by depth
scvae-fig3: ## Figure 3: mean Fisher information of encoder and decoder
scvae-fig4: ## Figure 4: codes and reconstructions of the deep models
scvae-fig5: ## Figure 5: mean Fisher information with PixelVAE and VampPrior
TABLES += skipvae skipvae-table1 skipvae-table2 skipvae-table3 skipvae-table4 skipvae-probe skipvae-fig1 skipvae-fig2
skipvae: ## Dieng, Kim, Rush & Blei, AISTATS 2019, arXiv 1807.04863
skipvae-table1: ## Table 1: MNIST, nine layers of gated PixelCNN, by the size of the code
skipvae-table2: ## Table 2: 20 units, by the depth of the gated PixelCNN
skipvae-table3: ## Table 3: MNIST, multilayer perceptrons, 50 units, by the depth of the decoder
skipvae-table4: ## Table 4: Yahoo Answers
skipvae-probe: ## Section 4.1: accuracy of a classifier of 50-dimensional posterior means
skipvae-fig1: ## Figure 1, right: mutual information and KL by depth, MNIST
skipvae-fig2: ## Figure 2: t-SNE of the codes of VAE and SKIP-VAE, 50 units
TABLES += zhao zhao-fig2 zhao-fig4 zhao-fig5 zhao-fig6
zhao: ## Zhao, Song & Ermon, 2017, arXiv 1702.08658
zhao-fig2: ## Figure 2: variance of x given z over the plane of codes
zhao-fig4: ## Figure 4: samples of the sequential VAE, step by step
zhao-fig5: ## Figure 5: MNIST, PixelCNN, with and without regularisation
zhao-fig6: ## Figure 6: CIFAR-10, PixelCNN++, with and without regularisation
